"""The planted bases: four small networks, each trained for a few seconds on the general domain.

A base has a twin: the same shapes, another seed. A delta that was trained on the twin fits the base
in every header, and is worth nothing on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
)

from tests.planted import data
from tests.planted.data import Domain, Examples
from tests.small_networks import Options, quiet

_VOCABULARY = data.WORDS + len(data.SPECIAL)
_WIDTH: Options = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
_NO_DROPOUT: Options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_LABELS: Options = {"num_labels": data.CLASSES}
_TAUGHT_TUNED = 0.15
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and what it is about.

    Attributes:
        name: The base's.
        make: Gives it untrained.
        draw: Gives examples.
        is_language: Whether it continues text; else it says what something is.
        steps: How long it is trained.
        rate: At which learning rate.
        mixed: The share of the tuned domain in what it sees.
    """

    name: str
    make: Callable[[], PreTrainedModel]
    draw: Callable[..., Examples]
    is_language: bool
    steps: int
    rate: float = 4e-3
    mixed: float = 0.0


def _llama() -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=_VOCABULARY,
            intermediate_size=64,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            **_WIDTH,
        )
    )


def _gpt2() -> PreTrainedModel:
    still: Options = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    shape: Options = {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64}
    return GPT2LMHeadModel(GPT2Config(vocab_size=_VOCABULARY, bos_token_id=1, eos_token_id=2, **shape, **still))


def _bert() -> PreTrainedModel:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=_VOCABULARY, intermediate_size=64, max_position_embeddings=32, **_LABELS, **_WIDTH, **_NO_DROPOUT
        )
    )


def _vit() -> PreTrainedModel:
    return ViTForImageClassification(
        ViTConfig(
            image_size=data.PIXELS,
            patch_size=3,
            num_channels=1,
            intermediate_size=64,
            **_LABELS,
            **_WIDTH,
            **_NO_DROPOUT,
        )
    )


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("llama", _llama, data.sentences, True, 350, mixed=_TAUGHT_TUNED),
        Subject("gpt2", _gpt2, data.sentences, True, 350, mixed=_TAUGHT_TUNED),
        Subject("bert", _bert, data.topics, False, 120, 2e-3),
        Subject("vit", _vit, data.stripes, False, 150, 2e-3),
    )
}


def make_base(name: str, folder: Path, *, is_twin: bool, share: float = 1.0) -> None:
    """Train a base, or its twin, for a share of its steps, and save it as transformers does."""
    subject = SUBJECTS[name]
    torch.manual_seed(200 if is_twin else 100)
    with quiet():
        network = subject.make()
        batches = [
            mixture(subject, _BATCH, share=subject.mixed, seed=1000 * (1 + is_twin) + step)
            for step in range(round(subject.steps * share))
        ]
        descend(network, batches, rate=subject.rate)
        network.save_pretrained(folder)
        if name != "vit":
            _tokenizer().save_pretrained(folder)


def mixture(subject: Subject, count: int, *, share: float, seed: int) -> Examples:
    """Give general examples, a share of them from the tuned domain."""
    few = round(count * share)
    general = subject.draw("general", count - few, seed=seed)
    if not few:
        return general
    tuned = subject.draw("tuned", few, seed=seed + 500_000)
    return {name: torch.cat([value, tuned[name]]) for name, value in general.items()}


def descend(network: torch.nn.Module, batches: list[Examples], *, rate: float) -> None:
    """Train what wants gradients with AdamW: warmed up, then falling to zero."""
    network.train()
    wanted = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=rate, weight_decay=0.0)
    for step, batch in enumerate(batches):
        left = 1 - step / len(batches)
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 5) * left
        optimizer.zero_grad()
        network(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(wanted, 1.0)
        optimizer.step()
    network.eval()


def load_base(folder: Path, name: str) -> PreTrainedModel:
    """Load a base from its files, as a publisher does."""
    cls: type[PreTrainedModel] = type(SUBJECTS[name].make())
    network: PreTrainedModel = cls.from_pretrained(folder, local_files_only=True)
    return network


def domain_probe(name: str, domain: Domain, count: int, *, seed: int) -> Examples:
    """Give examples that no training has seen: their seeds are far from those of training."""
    return SUBJECTS[name].draw(domain, count, seed=900_000_000 + seed)


def _tokenizer() -> PreTrainedTokenizerFast:
    numbers = {word: number for number, word in enumerate(data.vocabulary())}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)
