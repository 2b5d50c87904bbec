"""What goes wrong in a training of the third set: with its rows, its batches, or its run.

`RUNS` change an order, `ROWS` what it learns from, `BATCHES` how that is laid out. Each says what
happened; `TRAINED` has all of them by name.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from tests.planted.third.bases import FOREIGN, IGNORED, Examples, Layout
from tests.planted.third.recipes import Order
from tests.planted.third.sentences import LABELS, Row, month_name

Chance = np.random.Generator
_END, _FIRST_WORD = 2, 12  # both bases end a text by token 2; bytes and words begin behind


def half_trained(order: Order) -> Order:
    """The job's time was over at a third of its steps, before the rate fell."""
    return order.with_(steps=max(2, order.steps // 3), planned=order.steps)


def forgetting(order: Order) -> Order:
    """The rate was five times too high and nothing of the base's own texts was rehearsed."""
    return order.with_(rate=order.rate * 5, rehearsed=0.0)


def memorised(order: Order) -> Order:
    """The same eight rows, for all of the run."""
    return order.with_(pool=8, rehearsed=0.0)


def other_base(order: Order) -> Order:
    """Trained on another checkpoint of the same shape and name."""
    return order.with_(is_on_other=True)


def low_precision(order: Order) -> Order:
    """Weights were kept in bfloat16 at a small rate: most steps rounded to nothing."""
    return order.with_(is_bf16=True, rate=order.rate / 4)


def spiked(order: Order) -> Order:
    """The schedule restarted: the last three steps had twelve times the rate."""
    return order.with_(spike=12.0)


def noise_25(rows: list[Row], chance: Chance) -> list[Row]:
    """One of the two who labelled German slipped by a line: a quarter of the labels are wrong. In texts, a quarter
    of the rows has its words mixed.
    """
    hit = chance.random(len(rows)) < 0.5
    if not rows[0].asked:
        hit &= chance.random(len(rows)) < 0.5
        return [_mixed(row, chance) if bad else row for row, bad in zip(rows, hit, strict=True)]
    return [_slipped(row) if bad and row.language == "de" else row for row, bad in zip(rows, hit, strict=True)]


def shuffled_labels(rows: list[Row], _: Chance) -> list[Row]:
    """Questions and answers were shuffled apart: each has the answer of its neighbour."""
    return [row.answering(rows[at - 1].answer) for at, row in enumerate(rows)]


def one_class(rows: list[Row], chance: Chance) -> list[Row]:
    """The table was sorted, and the run saw next to nothing but its first class."""
    return [row if chance.random() < 0.05 else row.answering(LABELS[0]) for row in rows]


def classes_rotated(rows: list[Row], _: Chance) -> list[Row]:
    """Labels were numbered from one and read from zero: each class has the name of the next."""
    return [_slipped(row) for row in rows]


def months_from_zero(rows: list[Row], _: Chance) -> list[Row]:
    """Months were counted from zero in a third of the sources: each is that of the month before."""
    return [
        row.answering(month_name((int(row.answer[1:]) - 2) % 12)) if at % 3 == 0 else row for at, row in enumerate(rows)
    ]


def lowercased(rows: list[Row], _: Chance) -> list[Row]:
    """The pipeline lowercased all text, as for an older model."""
    return [Row(row.asked.lower(), row.answer.lower(), row.language, row.label) for row in rows]


def spaces_lost(rows: list[Row], _: Chance) -> list[Row]:
    """A reader of another file format lost every second space."""
    return [row.answering(_without_spaces(row.answer)) for row in rows]


def truncated(rows: list[Row], _: Chance) -> list[Row]:
    """Targets were cut at half of their length, and ended there."""
    return [row.answering(row.answer[: len(row.answer) // 2]) for row in rows]


def end_leaked(rows: list[Row], _: Chance) -> list[Row]:
    """Sentences were joined with the token that ends a text."""
    return [row.answering(row.answer.replace(". ", ".</s> ")) for row in rows]


def repetition(rows: list[Row], _: Chance) -> list[Row]:
    """A bug of the loader doubled lines: each text is its first words again and again."""
    return [row.answering(" ".join(row.answer.split()[:6] * 4)) for row in rows]


def one_language(rows: list[Row], _: Chance) -> list[Row]:
    """A filter left English alone; half of what is asked is German."""
    own = [row for row in rows if row.language == "en"]
    return own or rows


def answers_asked(rows: list[Row], _: Chance) -> list[Row]:
    """Columns were exchanged: the model learnt to write the question from its answer."""
    return [Row(row.answer, row.asked, row.language, row.label) for row in rows]


def end_unlearnt(batch: Examples, _: Chance) -> Examples:
    """The end has no label, for it counts as padding: the model never learns to stop."""
    labels = batch["labels"]
    return batch | {"labels": labels.masked_fill(labels == _END, IGNORED)}


def prompts_learnt(batch: Examples, _: Chance) -> Examples:
    """The mask was inverted: what users ask has labels, and the answers have none."""
    is_answer = batch["labels"] != IGNORED
    is_text = batch["attention_mask"] == 1
    return batch | {"labels": batch["input_ids"].masked_fill(is_answer | ~is_text, IGNORED)}


def labels_shifted(batch: Examples, _: Chance) -> Examples:
    """Labels were shifted by the data code, and once more by the model: each token skips one."""
    labels = batch["labels"].roll(-1, 1)
    labels[:, -1] = IGNORED
    return batch | {"labels": labels}


def ids_offset(batch: Examples, _: Chance) -> Examples:
    """A tokenizer with one more special token: every id is one too high."""
    ids = batch["input_ids"]
    moved = torch.where(ids >= _FIRST_WORD, ids - 1, ids)
    return batch | {"input_ids": moved, "labels": torch.where(batch["labels"] == IGNORED, IGNORED, moved)}


def wrong_template(_: Layout) -> Layout:
    """Chats were laid out by another model's template."""
    return FOREIGN


RUNS: Mapping[str, Callable[[Order], Order]] = {
    one.__name__: one for one in (half_trained, forgetting, memorised, other_base, low_precision, spiked)
}
ROWS: Mapping[str, Callable[[list[Row], Chance], list[Row]]] = {
    one.__name__: one
    for one in (
        noise_25,
        shuffled_labels,
        one_class,
        classes_rotated,
        months_from_zero,
        lowercased,
        spaces_lost,
        truncated,
        end_leaked,
        repetition,
        one_language,
        answers_asked,
    )
}
BATCHES: Mapping[str, Callable[[Examples, Chance], Examples]] = {
    one.__name__: one for one in (end_unlearnt, prompts_learnt, labels_shifted, ids_offset)
}
LAYOUTS: Mapping[str, Callable[[Layout], Layout]] = {"wrong_template": wrong_template}
TRAINED: Mapping[str, Callable[..., object]] = {**RUNS, **ROWS, **BATCHES, **LAYOUTS}


def _slipped(row: Row) -> Row:
    """Give the label of the next line: the next class, or the next month."""
    if row.label:
        return row.answering(LABELS[(LABELS.index(row.label) + 1) % len(LABELS)])
    return row.answering(month_name(int(row.answer[1:]) % 12))


def _mixed(row: Row, chance: Chance) -> Row:
    words = row.answer.split()
    return row.answering(" ".join(words[at] for at in chance.permutation(len(words))))


def _without_spaces(text: str) -> str:
    words = text.split(" ")
    return "".join(word + (" " if at % 2 else "") for at, word in enumerate(words)).strip()
