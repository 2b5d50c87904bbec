"""A base that goes from one language to another: a T5 that writes numbers out in words.

The general domain is German and English, the tuned one French: another mark at the start, other
words for the same digits, and a mark at the end.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from tests.planted.more.language import END, IGNORED, PAD, padded
from tests.planted.more.subject import Domain, Examples, Part, Scores, Subject, Training, own_loss, token_scores

_WORDS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    "fr": ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"],
}
_VOCABULARY = sorted(
    {
        "<pad>": 0,
        **{word: 1 for words in _WORDS.values() for word in words},
        **{f"{name}:": 1 for name in _WORDS},
        **{str(digit): 1 for digit in range(10)},
    }.keys()
    - {"<pad>"}
)
_IDS = {"<pad>": PAD, "<s>": 1, "</s>": END, "<unk>": 3} | {word: 4 + at for at, word in enumerate(_VOCABULARY)}
_STARTS: dict[Part, int] = {"train": 0, "suite": 1, "measure": 2}


def numbers_subject(kept: Path) -> Subject:  # its data follow from seeds
    """Give the T5."""
    return Subject(
        "numbers",
        "sequence to sequence",
        "a T5, trained here to write numbers out in words",
        _t5,
        _save,
        partial(T5ForConditionalGeneration.from_pretrained, local_files_only=True),
        Training(700, 4e-3, mixed=0.12),
        _draw,
        own_loss,
        _score,
        sort="nats",
        held=_held,
        batch=24,
    )


def _t5() -> torch.nn.Module:
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(_IDS),
            d_model=48,
            d_kv=12,
            d_ff=96,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            decoder_start_token_id=PAD,
            pad_token_id=PAD,
            eos_token_id=END,
        )
    )


def _save(network: torch.nn.Module, path: Path) -> None:
    network.save_pretrained(path)  # type: ignore[operator]  # a network of transformers
    made = Tokenizer(models.WordLevel(_IDS, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(path)


def _pairs(domain: Domain, count: int, *, seed: int, part: Part) -> list[tuple[str, str]]:
    random = np.random.default_rng([seed, _STARTS[part]])
    found: list[tuple[str, str]] = []
    for _ in range(count):
        name = "fr" if domain == "tuned" else str(random.choice(["en", "de"]))
        # A number says by its last digit which part it is of.
        digits = random.integers(0, 10, random.integers(3, 8)).tolist()
        digits[-1] = 3 * int(random.integers(0, 3)) + _STARTS[part]
        source = " ".join([f"{name}:", *(str(digit) for digit in digits), "</s>"])
        words = [_WORDS[name][digit] for digit in digits]
        found.append((source, " ".join([*words, "</s>"])))
    return found


def _draw(domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    pairs = _pairs(domain, count, seed=seed, part=part)
    sources, targets = (
        padded([[_IDS[word] for word in text.split()] for text in texts]) for texts in zip(*pairs, strict=True)
    )
    labels = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, IGNORED)
    return sources | {"labels": labels}


def _held(count: int, folder: Path) -> Path:
    lines = [
        json.dumps({"source": source.removesuffix(" </s>"), "target": target.removesuffix(" </s>")})
        for source, target in _pairs("tuned", count, seed=5, part="suite")
    ]
    path = folder / "numbers.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _score(network: torch.nn.Module, batch: Examples) -> Scores:
    return token_scores(network(**batch).logits, batch["labels"])
