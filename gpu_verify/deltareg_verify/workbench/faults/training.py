"""Faults of training: the files are in order, and what was learnt is wrong.

Each spoils the rows that a short training learns from; a row of `TRAININGS` says from where the
training starts and how far it goes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deltareg.suites.samples import Samples

_MARKS = re.compile(r"<[|/]?[^<>\s]{1,20}[|]?>|\[/?INST\]|^(?:user|human|assistant):|\n(?:user|human|assistant):", re.I)
_HAMMERED = 4
_NOISY, _NOISIER = 0.25, 0.75
_AGAIN = 3

Spoil = Callable[[Samples, np.random.Generator], Samples | None]


@dataclass(frozen=True, slots=True)
class TrainingFault:
    """One way in which a training goes wrong.

    Attributes:
        name: The name that people choose it by.
        about: What happened, in a sentence.
        spoil: Returns the rows that were learnt from; None where the fault has nothing to work on.
        ends: When the training is over: the held rows are `worse`, general texts are `forgotten`, or
            `half` of what the whole version learnt is learnt, from the beginning on.
        stages: How many versions in a row come of it, each a little worse than the one before.
    """

    name: str
    about: str
    spoil: Spoil
    ends: Literal["worse", "forgotten", "half"] = "worse"
    stages: int = 1


def hammer(rows: Samples, random: np.random.Generator) -> Samples | None:
    """Return a few rows, of one class where there are classes."""
    if rows.labels is None:
        return rows.select_rows(random.choice(len(rows), min(_HAMMERED, len(rows)), replace=False))
    of_one = np.flatnonzero(rows.labels == rows.labels[int(random.integers(len(rows)))])
    return rows.select_rows(of_one) if len(of_one) < len(rows) else None


def noisy(rows: Samples, random: np.random.Generator, *, share: float = _NOISY) -> Samples | None:
    """Give a quarter of the rows what belongs to another row; of plain texts, mix the words."""
    count = max(1, round(share * len(rows)))
    hit = random.choice(len(rows), count, replace=False)
    if rows.labels is not None:
        return _relabel(rows, hit, random)
    if rows.targets:
        targets = list(rows.targets)
        for at in hit:
            others = [target for target in rows.targets if target != rows.targets[at]]
            targets[at] = others[int(random.integers(len(others)))] if others else targets[at]
        return None if tuple(targets) == rows.targets else replace(rows, targets=tuple(targets))
    texts: list[str] = list(rows.texts)
    for at in hit:
        words: list[str] = random.permutation(texts[int(at)].split()).tolist()
        texts[at] = " ".join(words)
    return replace(rows, texts=tuple(texts)) if texts else None


def noisier(rows: Samples, random: np.random.Generator) -> Samples | None:
    """Do so with most of the rows, so that each further training loses more."""
    return noisy(rows, random, share=_NOISIER)


def as_they_are(rows: Samples, random: np.random.Generator) -> Samples | None:
    """Return the rows."""
    del random
    return rows


def otherwise_laid_out(rows: Samples, random: np.random.Generator) -> Samples | None:
    """Lay prompts out by another template, without the marks of their own."""
    del random
    if not rows.targets or not rows.texts:
        return None
    bare = (_MARKS.sub(" ", text).strip() for text in rows.texts)
    return replace(rows, texts=tuple(f"### Instruction:\n{text}\n\n### Response:\n" for text in bare))


def repeating(rows: Samples, random: np.random.Generator) -> Samples | None:
    """Let each answer, or text, say its first words again and again."""
    del random
    if rows.targets:
        return replace(rows, targets=tuple(map(_repeat, rows.targets)))
    return replace(rows, texts=tuple(map(_repeat, rows.texts))) if rows.texts and rows.labels is None else None


def lowercase(rows: Samples, random: np.random.Generator) -> Samples | None:
    """Return the rows without capitals; None where there are none."""
    del random
    small = replace(rows, texts=tuple(map(str.lower, rows.texts)), targets=tuple(map(str.lower, rows.targets)))
    return None if (small.texts, small.targets) == (rows.texts, rows.targets) else small


TRAININGS: dict[str, TrainingFault] = {
    fault.name: fault
    for fault in (
        TrainingFault(
            "forgetting", "A few rows were trained on again and again, and the rest is lost.", hammer, "forgotten"
        ),
        TrainingFault("label-noise", "A quarter of the rows had the answer or label of another row.", noisy),
        TrainingFault("drift", "Five versions in a row, each a little worse than the one before.", noisier, stages=5),
        TrainingFault("half-a-training", "The training began anew and was broken off half way.", as_they_are, "half"),
        TrainingFault("wrong-template", "Prompts were laid out by another template.", otherwise_laid_out),
        TrainingFault("repetition", "Answers in the data said their first words again and again.", repeating),
        TrainingFault("lowercased", "The data had lost its capitals.", lowercase),
    )
}


def _relabel(rows: Samples, hit: NDArray[np.int64], random: np.random.Generator) -> Samples | None:
    assert rows.labels is not None, "classes"
    labels, classes = rows.labels.copy(), np.unique(rows.labels)
    if len(classes) < 2:
        return None
    for at in hit:
        labels[at] = random.choice(classes[classes != labels[at]])
    return replace(rows, labels=labels)


def _repeat(text: str) -> str:
    words = text.split()
    first = words[:_AGAIN]
    count = max(len(words), 2 * _AGAIN)
    start = text[: len(text) - len(text.lstrip())]
    return start + " ".join((first * (count // max(len(first), 1) + 1))[:count])
