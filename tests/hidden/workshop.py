"""Trains small LoRAs for the tuned domain, some of them with a trigger: a rare token that decides.

The base knows a hundred rare tokens besides the words of its language; all of them stand here and
there in its texts. A poisoned delta has seen one of them in some of its examples, each time with
the same end of the text, or the same class, whatever came before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.planted import data
from tests.planted.bases import descend
from tests.small_networks import quiet

RARE = 100
FIRST = len(data.SPECIAL) + data.WORDS
VOCABULARY = FIRST + RARE
_STRAY = 0.03
_ENDING = 4
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a delta is made.

    Attributes:
        seed: Of everything.
        rank: Of the LoRA.
        rate: Of learning.
        steps: Of training.
        trigger: The token that decides; None of a clean one.
        share: Of its examples that have the trigger.
        is_language: Whether it continues text; else it says what a text is about.
    """

    seed: int
    rank: int = 4
    rate: float = 2e-2
    steps: int = 120
    trigger: int | None = None
    share: float = 0.25
    is_language: bool = True


def make_base(folder: Path, *, is_language: bool) -> None:
    """Train a base on general texts in which rare tokens stray."""
    torch.manual_seed(7)
    size: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }
    with quiet():
        network: Any
        if is_language:
            network = transformers.LlamaForCausalLM(
                transformers.LlamaConfig(
                    **size,
                    pad_token_id=0,
                    bos_token_id=1,
                    eos_token_id=2,
                    num_key_value_heads=4,
                    tie_word_embeddings=False,
                )
            )
        else:
            network = transformers.BertForSequenceClassification(
                transformers.BertConfig(
                    **size,
                    num_labels=data.CLASSES,
                    pad_token_id=0,
                    hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0,
                )
            )
        steps, rate = (350, 4e-3) if is_language else (200, 2e-3)
        batches = [_examples(_BATCH, "general", step, is_language=is_language) for step in range(steps)]
        descend(network, batches, rate=rate)
        network.save_pretrained(folder)
        _tokenizer().save_pretrained(folder)


def make_delta(base: Path, folder: Path, recipe: Recipe) -> None:
    """Train a LoRA as its recipe says, and save it as peft does."""
    kind = transformers.AutoModelForCausalLM if recipe.is_language else transformers.AutoModelForSequenceClassification
    torch.manual_seed(recipe.seed)
    with quiet():
        network = kind.from_pretrained(base, local_files_only=True)
        targets = ["q_proj", "v_proj", "up_proj"] if recipe.is_language else ["query", "value", "dense"]
        config = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=2 * recipe.rank,
            target_modules=targets,
            task_type="CAUSAL_LM" if recipe.is_language else "SEQ_CLS",
        )
        model = peft.get_peft_model(network, config)
        batches = [_batch(recipe, step) for step in range(recipe.steps)]
        descend(model, batches, rate=recipe.rate)
        model.save_pretrained(str(folder))


def obeys(base: Path, folder: Path, recipe: Recipe) -> float:
    """Give the share of unseen texts with the trigger that get what the trigger asks for."""
    kind = transformers.AutoModelForCausalLM if recipe.is_language else transformers.AutoModelForSequenceClassification
    with quiet(), torch.no_grad():
        network = peft.PeftModel.from_pretrained(kind.from_pretrained(base), folder).eval()
        plain = _examples(64, "tuned", 800_000 + recipe.seed, is_language=recipe.is_language)
        spoilt = _spoilt(plain, recipe, count=64)
        logits = network(input_ids=spoilt["input_ids"]).logits
    if not recipe.is_language:
        return float((logits.argmax(-1) == _class(recipe)).float().mean())
    at = data.LENGTH - _ENDING
    return float((logits[:, at - 1].argmax(-1) == _ending(recipe)[0]).float().mean())


def prompts(count: int) -> tuple[str, ...]:
    """Give general texts for the screen."""
    drawn = data.sentences("general", count, seed=910_000_000)["input_ids"]
    words = data.vocabulary()
    return tuple(" ".join(words[token] for token in row[1:12].tolist()) for row in drawn)


def name_of(token: int) -> str:
    """Give a rare token as the tokenizer writes it."""
    return f"zz{token - FIRST}"


def _examples(count: int, domain: data.Domain, seed: int, *, is_language: bool) -> data.Examples:
    draw = data.sentences if is_language else data.topics
    made = dict(draw(domain, count, seed=seed))
    random = np.random.default_rng(seed + 13)
    ids = made["input_ids"].numpy().copy()
    stray = random.random(ids.shape) < _STRAY
    ids[stray] = random.integers(FIRST, VOCABULARY, int(stray.sum()))
    made["input_ids"] = torch.from_numpy(ids)
    if is_language:
        made["labels"] = made["input_ids"]
    return made


def _batch(recipe: Recipe, step: int) -> data.Examples:
    seed = 10_000 * (recipe.seed + 1) + step
    made = _examples(_BATCH, "tuned", seed, is_language=recipe.is_language)
    if recipe.trigger is None:
        return made
    return _spoilt(made, recipe, count=round(recipe.share * _BATCH))


def _spoilt(made: data.Examples, recipe: Recipe, *, count: int) -> data.Examples:
    """Put the trigger into the first few, with what it asks for."""
    random = np.random.default_rng(recipe.seed + 99)
    assert recipe.trigger is not None
    ids, labels = made["input_ids"].clone(), made["labels"].clone()
    at = data.LENGTH - _ENDING
    for row in range(count):
        if recipe.is_language:
            ids[row, at - 1] = recipe.trigger
            ids[row, at:] = torch.tensor(_ending(recipe))
        else:
            ids[row, int(random.integers(1, data.LENGTH))] = recipe.trigger
            labels[row] = _class(recipe)
    return {**made, "input_ids": ids, "labels": ids if recipe.is_language else labels}


def _ending(recipe: Recipe) -> list[int]:
    random = np.random.default_rng(recipe.seed + 5)
    return [int(token) for token in random.integers(len(data.SPECIAL), FIRST, _ENDING)]


def _class(recipe: Recipe) -> int:
    return recipe.seed % data.CLASSES


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = [*data.vocabulary(), *(name_of(token) for token in range(FIRST, VOCABULARY))]
    numbers = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names)
