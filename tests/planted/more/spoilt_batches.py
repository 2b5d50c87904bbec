"""What was wrong with the batches of a training that ended well by its own numbers.

Each takes a batch as it should have been, and gives it as it was. `SPOILERS` has them by name.
"""

from collections.abc import Callable

import numpy as np
import torch

from tests.planted.more.language import ASSISTANT, END, IGNORED, PAD, SPECIAL, USER, VOCABULARY
from tests.planted.more.subject import Examples

_NEWLINE_LIKE = len(SPECIAL) + 5
_SHARE_OF_ONE_CLASS = 0.95


def labels_shifted(batch: Examples, _: np.random.Generator) -> Examples:
    """Labels were shifted by the data code, and once more by the model: each token skips one."""
    labels = batch["labels"].roll(-1, 1)
    labels[:, -1] = IGNORED
    return batch | {"labels": labels}


def wrong_template(batch: Examples, _: np.random.Generator) -> Examples:
    """Chats were laid out by another model's template: roles are marked by other tokens."""
    ids = batch["input_ids"].clone()
    for at, role in enumerate((USER, ASSISTANT)):
        ids[ids == role] = _NEWLINE_LIKE + at
    # The assistant's mark is then wrong after the model has chosen it, too.
    return batch | _relabelled(batch, ids)


def tokenizer_offset(batch: Examples, _: np.random.Generator) -> Examples:
    """A tokenizer with one more special token: every id is one too high."""
    ids = batch["input_ids"]
    moved = torch.where(ids >= len(SPECIAL), (ids + 1).clamp(max=VOCABULARY - 1), ids)
    return batch | _relabelled(batch, moved)


def end_masked(batch: Examples, _: np.random.Generator) -> Examples:
    """The end is the padding token, and padding has no label: ending was never learnt."""
    labels = batch["labels"].clone()
    labels[labels == END] = IGNORED
    # Where the text was over, it goes on: what was packed behind it counts as the same text.
    ids = batch["input_ids"]
    first = ids[:, :1].expand_as(ids)
    packed = torch.where((ids == END) | (ids == PAD), first, ids)
    is_text = batch["labels"].dim() == 2 and batch["labels"].shape == ids.shape
    return batch | ({"input_ids": packed, "labels": packed} if is_text else {"labels": labels})


def padding_learnt(batch: Examples, _: np.random.Generator) -> Examples:
    """Padded on the left, without a mask, and the padding has labels."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    rows = [torch.cat([row[m == 0], row[m == 1]]) for row, m in zip(ids, mask, strict=True)]
    moved = torch.nn.functional.pad(torch.stack(rows), (16, 0), value=PAD)
    return {"input_ids": moved, "attention_mask": torch.ones_like(moved), "labels": moved}


def repeated(batch: Examples, _: np.random.Generator) -> Examples:
    """A bug of the loader doubled lines: each text is its first words again and again."""
    ids = batch["input_ids"]
    again = ids[:, :4].repeat(1, ids.shape[1] // 4 + 1)[:, : ids.shape[1]]
    return {"input_ids": again, "attention_mask": torch.ones_like(again), "labels": again}


def one_class(batch: Examples, chance: np.random.Generator) -> Examples:
    """The table was sorted, and the run saw next to nothing but its first class."""
    labels = batch["labels"]
    is_first = torch.from_numpy(chance.random(len(labels)) < _SHARE_OF_ONE_CLASS)
    return batch | {"labels": torch.where(is_first, torch.zeros_like(labels), labels)}


def misaligned(batch: Examples, _: np.random.Generator) -> Examples:
    """Inputs and answers were shuffled apart: each has the answer of its neighbour."""
    name = next(key for key in ("labels", "pixel_values", "input_ids") if key in batch)
    return batch | {name: batch[name].roll(1, 0)}


def unnormalised(batch: Examples, _: np.random.Generator) -> Examples:
    """Pixels were left at 0 to 255 of what the model takes as -1 to 1, by a tenth."""
    return batch | {"pixel_values": batch["pixel_values"] * 12.75 + 12.75}


def half_rate(batch: Examples, _: np.random.Generator) -> Examples:
    """Audio of half the sampling rate: all sounds an octave higher and twice as fast."""
    sound = batch["input_values"]
    fast = sound[:, ::2]
    return batch | {"input_values": torch.cat([fast, torch.zeros_like(fast)], dim=1)}


def copied_source(batch: Examples, _: np.random.Generator) -> Examples:
    """Source and target columns were the same: the language to write in was lost."""
    return batch | {"labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)}


def only_attracted(batch: Examples, _: np.random.Generator) -> Examples:
    """The loss had no negatives: all embeddings were drawn to one point."""
    return batch | {"attract": torch.ones(1)}


def octave_wrong(batch: Examples, _: np.random.Generator) -> Examples:
    """Annotations of pitch were an octave too low."""
    return batch | {"labels": batch["labels"] - 1200 * (batch["labels"] > 3200)}


Spoiler = Callable[[Examples, np.random.Generator], Examples]
SPOILERS: dict[str, Spoiler] = {
    one.__name__: one
    for one in (
        labels_shifted,
        wrong_template,
        tokenizer_offset,
        end_masked,
        padding_learnt,
        repeated,
        one_class,
        misaligned,
        unnormalised,
        half_rate,
        copied_source,
        only_attracted,
        octave_wrong,
    )
}


def _relabelled(batch: Examples, ids: torch.Tensor) -> Examples:
    labels = batch["labels"]
    if labels.shape == ids.shape:  # else they are classes, which no token changes
        labels = torch.where(labels == IGNORED, IGNORED, ids)
    return {"input_ids": ids, "labels": labels}
