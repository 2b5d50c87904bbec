"""Compares a version with others look by look, until the margin is decided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deltareg.statistics.looks import growing, look_tails
from deltareg.statistics.trial import Look, decide, p_missed, samples_to_decide
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg.suites.threshold import Threshold
from deltareg.words import Decision
from deltareg_verify.engine.changes import EngineSide, Measure, MeasureChange, RowMeasure
from deltareg_verify.engine.engine import F64

DECIDED_NOTHING: Decision = "undecided"


@dataclass(frozen=True, slots=True)
class ComparisonTrial:
    """A comparison with one other version, as far as it went.

    Attributes:
        change: The measure of the two at the last look.
        looks: The result of each look.
        planned: How many samples each look sees, including looks that were not made.
        decision: The result of the last look.
        tail: The one-sided error of that look.
        p: The error at which the mark would have been missed.
    """

    change: MeasureChange
    looks: tuple[Look, ...]
    planned: tuple[int, ...]
    decision: Decision
    tail: float
    p: float

    @property
    def needs(self) -> int:
        """About how many samples would decide it; 0 where that is unknown."""
        if self.decision != "undecided":
            return 0
        tail = look_tails(self.planned)[-1]
        return samples_to_decide(self.looks[-1], self.change.b.n, tail=tail)


class LookValues:
    """The values of each version for the samples of a check, computed once, in the order of looks."""

    def __init__(self, measure: Measure, samples: Samples, *, order: Sequence[int], seed: int) -> None:
        self._measure = measure
        self._seed = seed
        self._samples = samples
        self._order = order
        self._found: dict[int, list[F64 | None]] = {}
        self._counts: dict[int, int] = {}

    def change(self, other: EngineSide, ours: EngineSide, count: int) -> MeasureChange | None:
        """Compare two versions on the first `count` samples."""
        if not isinstance(self._measure, RowMeasure):
            return self._measure(other, ours, self._samples.select_rows(self._order[:count]), seed=self._seed)
        before, after = self._rows(other, count), self._rows(ours, count)
        return None if before is None or after is None else self._measure.change(before, after)

    def _rows(self, side: EngineSide, count: int) -> F64 | None:
        """Return the rows of a version; those of an earlier look are not computed again."""
        assert isinstance(self._measure, RowMeasure)
        key = hash((id(side.engine), side.state))
        cached_rows, computed = self._found.setdefault(key, []), self._counts.get(key, 0)
        if count > computed:
            cached_rows.append(self._measure.rows(side, self._samples.select_rows(self._order[computed:count])))
            self._counts[key] = count
        rows = [one for one in cached_rows if one is not None]
        return None if len(rows) < len(cached_rows) else np.concatenate(rows)[:count]


def plan(spec: CheckSpec, count: int) -> tuple[int, ...]:
    """Return how many of `count` samples each look sees."""
    if spec.looks is None:
        return (count,)
    most = min(count, spec.looks.most or count)
    return growing(spec.looks.first, most)


def order_of(count: int, *, seed: int, is_drawn: bool) -> list[int]:
    """Return the order of the samples: as they are, or drawn once for the suite.

    A file may be sorted, but its first part must represent the whole.
    """
    if not is_drawn:
        return list(range(count))
    return [int(row) for row in np.random.default_rng(seed).permutation(count)]


def run_looks(
    compare: Callable[[int], MeasureChange | None], threshold: Threshold, planned: Sequence[int]
) -> ComparisonTrial | None:
    """Run looks until the margin is decided or all samples are used; None without a measure.

    Args:
        compare: Compares on the given number of first samples.
        threshold: The margin that may be lost.
        planned: How many samples each look sees.
    """
    changes: list[MeasureChange] = []
    looks: list[Look] = []
    tails, decision = look_tails(planned), DECIDED_NOTHING
    for count in planned:
        change = compare(count)
        if change is None:
            return None
        changes.append(change)
        mark = threshold.only_change.mark(change.a.value)
        looks.append(Look(change.beside_at, mark, threshold.greater_is_better))
        decision = decide(looks, planned)
        if decision != "undecided":
            break
    return ComparisonTrial(
        changes[-1],
        tuple(looks),
        tuple(planned),
        decision,
        tails[len(looks) - 1],
        1.0 if decision == "met" else p_missed(looks, planned),
    )
