"""A classifier's prediction for each sample, and how evenly it is right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deltareg.suites.probe_set import Samples
from deltareg_verify.engine.changes import EngineSide

_BATCH = 32
_SCORES = "logits"
NOTHING = -1
"""What stands for the class of a sample whose scores are no numbers."""


def predictions(side: EngineSide, samples: Samples) -> NDArray[np.int64] | None:
    """Return the class of each sample: (n,); None without scores of classes, one row a sample."""
    engine = side.engine
    inputs = engine.encode(samples.texts) if samples.texts else samples.arrays
    if inputs is None:
        return None
    classes: list[NDArray[np.int64]] = []
    for start in range(0, len(samples), _BATCH):
        rows = {name: value[start : start + _BATCH] for name, value in inputs.items()}
        scores = engine.outputs_for(side.state, rows).get(_SCORES)
        count = len(next(iter(rows.values())))
        if scores is None or scores.ndim != 2 or scores.shape[0] != count or scores.shape[1] < 2:
            return None
        sane = np.isfinite(scores).all(-1)
        classes.append(np.where(sane, scores.argmax(-1), NOTHING).astype(np.int64))
    return np.concatenate(classes)


@dataclass(frozen=True, slots=True)
class ClassPrediction:
    """The prediction for one sample.

    Attributes:
        label: Its true class.
        said: The predicted class.
        known: The recall of every class over all samples; it stands in for a class that is not
            among the drawn samples.
    """

    label: int
    said: int
    known: Mapping[int, float]


def rows_of(labels: NDArray[np.int64], said: NDArray[np.int64]) -> list[object]:
    """Return one row per sample, as the measures below take them."""
    by_class = _recalls(labels, said)
    pairs = zip(labels.tolist(), said.tolist(), strict=True)
    return [ClassPrediction(label, answer, by_class) for label, answer in pairs]


def recalls(rows: Sequence[object]) -> dict[int, float]:
    """Return, for every class, the share of its samples that are predicted right."""
    labels, predicted = _columns(rows)
    by_class = dict(cast("ClassPrediction", rows[0]).known)
    return by_class | _recalls(labels, predicted)


def balanced_accuracy(rows: Sequence[object]) -> float:
    """Return the mean recall over classes: every class counts alike, however rare."""
    return float(np.mean([*recalls(rows).values()]))


def worst_recall(rows: Sequence[object]) -> float:
    """Return the recall of the worst class."""
    return min(recalls(rows).values())


def evenness(rows: Sequence[object]) -> float:
    """Return the entropy of the predictions relative to that of the labels: 0 for always one class.

    1 where classes are predicted as often as they occur; labels of one class only give 0.
    """
    labels, predicted = _columns(rows)
    whole = _entropy(labels)
    return min(_entropy(predicted) / whole, 1.0) if whole else 0.0


MEASURES: Mapping[str, Callable[[Sequence[object]], float]] = {
    "balanced_accuracy": balanced_accuracy,
    "worst_recall": worst_recall,
    "evenness": evenness,
}


def _recalls(labels: NDArray[np.int64], said: NDArray[np.int64]) -> dict[int, float]:
    classes = cast("list[int]", np.unique(labels).tolist())
    return {one: float((said[labels == one] == one).mean()) for one in classes}


def _entropy(classes: NDArray[np.int64]) -> float:
    _, counts = np.unique(classes, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _columns(rows: Sequence[object]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    predicted = cast("Sequence[ClassPrediction]", rows)
    both = np.array([(row.label, row.said) for row in predicted], np.int64)
    return both[:, 0], both[:, 1]
