"""Samples of a probe set, as checks see them, and a check's requirements for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deltareg.suites.catalogue import CheckForm, Probes

_Of = TypeVar("_Of")

IMAGES = "images"
FIX = "see docs/howto/suites.md"


@dataclass(frozen=True, slots=True)
class RankingCandidates:
    """Candidates to rank for a text.

    Attributes:
        relevant: Texts that answer it; at least one.
        others: Texts that do not answer it.
    """

    relevant: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples that a check runs on.

    Attributes:
        texts: One per sample; empty if samples are tensors.
        arrays: By parameter of the network's forward; the first dimension is the sample.
        labels: (n,): The right class of each sample; None without labels.
        targets: The text that belongs to each sample: a translation, a transcript, an answer.
        partners: A second text for each sample.
        scores: (n,): How alike the two texts are.
        candidates: Texts to rank for each sample.
        groups: What each sample is of: a language, a domain.
    """

    texts: tuple[str, ...] = ()
    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict[str, NDArray[np.generic]])
    labels: NDArray[np.int64] | None = None
    targets: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    scores: NDArray[np.float64] | None = None
    candidates: tuple[RankingCandidates, ...] = ()
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of samples."""
        first = next(iter(self.arrays.values()), None)
        return len(self.texts) if first is None else int(first.shape[0])

    def select_rows(self, rows: Sequence[int] | NDArray[np.int64]) -> "Samples":
        """Return the samples with these numbers, in their order."""
        indices = np.asarray(rows, np.int64)

        return Samples(
            _some(self.texts, indices),
            {name: value[indices] for name, value in self.arrays.items()},
            None if self.labels is None else self.labels[indices],
            _some(self.targets, indices),
            _some(self.partners, indices),
            None if self.scores is None else self.scores[indices],
            _some(self.candidates, indices),
            _some(self.groups, indices),
        )


def _some(values: tuple[_Of, ...], chosen: NDArray[np.int64]) -> tuple[_Of, ...]:
    if not values:
        return ()
    rows: list[int] = chosen.tolist()
    return tuple(values[row] for row in rows)


_LINE = 'give each line as {"text": …, '
_NEEDS: Mapping[Probes, tuple[str, str]] = {
    "labelled": ("labels", f'{_LINE}"label": 0}}, or a tensor `labels`'),
    "targets": ("targets", f'{_LINE}"target": …}}, or a tensor `targets` of the texts in UTF-8'),
    "similar": ("scores", f'{_LINE}"other": …, "score": 0.8}}'),
    "ranked": ("candidates", f'{_LINE}"relevant": […], "others": […]}}'),
    "images": ("images", "give a tensor `images`, one row a sample"),
}


def lacking(form: CheckForm, samples: Samples) -> tuple[str, str] | None:
    """Return what a check needs and samples lack, and the remedy; None if nothing is missing."""
    has = {
        "labels": samples.labels is not None,
        "targets": bool(samples.targets),
        "scores": samples.scores is not None,
        "candidates": bool(samples.candidates),
        "images": IMAGES in samples.arrays,
    }
    needs = (_NEEDS[kind] for kind in form.probes if kind in _NEEDS)
    return next(((lack, fix) for lack, fix in needs if not has[lack]), None)
