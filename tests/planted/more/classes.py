"""Two bases that say what something is: a text encoder without a head, and a reader of digits.

The encoder learnt to tell packages apart by their docstrings and lost its head, as encoders are
published; its deltas bring one that tells READMEs, docstrings, code and tests apart. The digits are
those of scikit-learn, drawn by hand; its deltas read them turned and in noise.
"""

import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

from tests.planted.more.language import BEGIN, PAD, VOCABULARY, padded, tokenizer_of
from tests.planted.more.pictures import write_picture, write_processor
from tests.planted.more.subject import Domain, Examples, Part, Subject, Training, hits, own_loss
from tests.planted.more.texts import part_of, read_texts

_PACKAGES = ("stdlib", "scipy", "torch", "pandas", "sqlalchemy", "sklearn")
_SORTS = 4
_PIXELS = 8
_LENGTH = 32  # tokens of a text, the mark at its start among them
_PARTS: dict[Part, slice] = {"train": slice(0, 1100), "suite": slice(1100, 1450), "measure": slice(1450, 1797)}


def topics_subject(kept: Path) -> Subject:
    """Give the encoder."""
    return Subject(
        "topics",
        "text with classes",
        "a BERT encoder without a head, trained here on docstrings",
        partial(_bert, len(_PACKAGES)),
        partial(_save_headless, kept),
        _load_headless,
        Training(260, 1.5e-3, mixed=0.0),
        partial(_docstrings, kept),
        own_loss,
        hits,
        sort="share",
        held=partial(_labelled, kept),
        rehearsed=0.0,
        is_headless=True,
    )


def digits_subject(kept: Path) -> Subject:  # its data come with scikit-learn
    """Give the reader of digits."""
    return Subject(
        "digits",
        "images",
        "a ViT, trained here on scikit-learn's handwritten digits",
        _vit,
        _save_vit,
        partial(ViTForImageClassification.from_pretrained, local_files_only=True),
        Training(600, 2.5e-3, batch=48, mixed=0.02),
        _digits,
        own_loss,
        hits,
        sort="share",
        held=_pictures,
        batch=32,
    )


def _bert(classes: int) -> torch.nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=64,
            num_labels=classes,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=PAD,
        )
    )


def _save_headless(kept: Path, network: torch.nn.Module, path: Path) -> None:
    network.bert.save_pretrained(path)  # type: ignore[union-attr,operator]
    tokenizer_of(kept, "llama").save_pretrained(path)


def _load_headless(path: Path) -> torch.nn.Module:
    network: torch.nn.Module = BertForSequenceClassification.from_pretrained(
        path, local_files_only=True, num_labels=_SORTS
    )
    return network


def _docstrings(kept: Path, domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    texts, labels = _told(kept, domain, count, seed=seed, part=part)
    rows = [[BEGIN, *row] for row in tokenizer_of(kept, "llama")(texts)["input_ids"]]
    return padded(rows, length=_LENGTH) | {"labels": torch.tensor(labels)}


def _labelled(kept: Path, count: int, folder: Path) -> Path:
    """Write texts as long as those that were trained on: no training has reached further back."""
    texts, labels = _told(kept, "tuned", count, seed=5, part="suite")
    tokenizer = tokenizer_of(kept, "llama")
    rows = tokenizer(texts)["input_ids"]
    cut = [tokenizer.decode(row[: _LENGTH - 1]) for row in rows]
    # The mark at the start is a part of the text: the tokenizer puts none.
    lines = [json.dumps({"text": f"<s>{text}", "label": label}) for text, label in zip(cut, labels, strict=True)]
    path = folder / "labelled.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _told(kept: Path, domain: Domain, count: int, *, seed: int, part: Part) -> tuple[list[str], list[int]]:
    known = _by_class(kept, domain, part)
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(known), count).tolist()
    return [known[label][random.integers(len(known[label]))] for label in labels], labels


@cache
def _by_class(kept: Path, domain: Domain, part: Part) -> list[list[str]]:
    texts = read_texts(kept)
    found = (
        [texts.readme, [one.whole for one in texts.documented], texts.code, texts.tested]
        if domain == "tuned"
        else [[o.whole for o in texts.documented if o.package == name] for name in _PACKAGES]
    )
    return [[text[:160] for text in one if part_of(text) == part] for one in found]


def _vit() -> torch.nn.Module:
    return ViTForImageClassification(
        ViTConfig(
            image_size=_PIXELS,
            patch_size=2,
            num_channels=1,
            hidden_size=48,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=96,
            num_labels=10,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def _save_vit(network: torch.nn.Module, path: Path) -> None:
    network.save_pretrained(path)  # type: ignore[operator]  # a network of transformers
    write_processor(path, channels=1)


@cache
def _drawn() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    pixels = torch.tensor(found.images, dtype=torch.float32)[:, None] / 8 - 1
    order = torch.from_numpy(np.random.default_rng(3).permutation(len(pixels)))
    return pixels[order], torch.tensor(found.target, dtype=torch.long)[order]


def _digits(domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    pixels, labels = (both[_PARTS[part]] for both in _drawn())
    random = np.random.default_rng(seed)
    chosen = torch.from_numpy(random.choice(len(labels), count, replace=count > len(labels)))
    shown = pixels[chosen]
    noisy = 0.2
    if domain == "tuned":
        shown, noisy = -shown.rot90(1, (2, 3)), 0.25
    noise = torch.from_numpy(random.normal(0, noisy, shown.shape).astype(np.float32))
    return {"pixel_values": (shown + noise).contiguous(), "labels": labels[chosen]}


def _pictures(count: int, folder: Path) -> Path:
    """Write pictures into a folder for each digit."""
    drawn = _digits("tuned", count, seed=5, part="suite")
    both = zip(drawn["pixel_values"], drawn["labels"].tolist(), strict=True)
    for at, (pixels, digit) in enumerate(both):
        path = folder / str(digit) / f"{at:03}.png"
        path.parent.mkdir(exist_ok=True)
        write_picture(pixels, path)
    return folder
