"""Bounds for measures, in the four terms of MLflow's MetricThreshold, compared with intervals.

A measure on few samples does not fail by a hair: it fails if even the better end of its interval
misses the mark, passes if the measure itself reaches it, and is reported as undecided in between.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from deltareg.suites.estimate import Estimate

Judgement = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound; at least one of the first three attributes is set.

    A negative change is the allowed loss: -0.2 of a relative change allows a fifth.

    Attributes:
        threshold: The measure itself must reach it.
        min_absolute_change: It must be better than the baseline by this much.
        min_relative_change: It must be better by this share of the baseline.
        greater_is_better: Whether more is better, as for accuracy; false as for perplexity.
    """

    threshold: float | None = None
    min_absolute_change: float | None = None
    min_relative_change: float | None = None
    greater_is_better: bool = True

    @property
    def needs_baseline(self) -> bool:
        """Whether it requires a change."""
        return self.min_absolute_change is not None or self.min_relative_change is not None

    @property
    def only_change(self) -> "Threshold":
        """The part of it about the change alone."""
        return replace(self, threshold=None)

    @property
    def without_change(self) -> "Threshold | None":
        """The part of it about the measure itself; None if it only requires a change."""
        if self.threshold is None:
            return None
        return replace(self, min_absolute_change=None, min_relative_change=None)

    def mark(self, baseline: float | None) -> float:
        """Return the one value to reach: the strictest of the conditions.

        Args:
            baseline: The measure of the reference; needed if a change is required.
        """
        sign = 1.0 if self.greater_is_better else -1.0
        marks = [self.threshold]
        if self.needs_baseline:
            assert baseline is not None, "a change is asked of something"
            absolute, relative = self.min_absolute_change, self.min_relative_change
            marks.append(None if absolute is None else baseline + sign * absolute)
            marks.append(None if relative is None else baseline + sign * relative * abs(baseline))
        bounds = [mark for mark in marks if mark is not None]
        return max(bounds) if self.greater_is_better else min(bounds)

    def judge(self, found: Estimate, baseline: float | None) -> Judgement:
        """Judge an estimate by this bound; a NaN fails."""
        mark = self.mark(baseline)
        best = found.high if self.greater_is_better else found.low
        if self._reaches(found.value, mark):
            return "pass"
        return "undecided" if self._reaches(best, mark) and math.isfinite(found.value) else "fail"

    def describe(self, against: str) -> str:
        """Describe the bound: `at most 1.5 x base`."""
        bound = "at least" if self.greater_is_better else "at most"
        sign = 1 if self.greater_is_better else -1
        bounds = [] if self.threshold is None else [f"{bound} {self.threshold:g}"]
        if self.min_absolute_change is not None:
            bounds.append(f"{bound} {against} {sign * self.min_absolute_change:+g}")
        if self.min_relative_change is not None:
            bounds.append(f"{bound} {1 + sign * self.min_relative_change:g} x {against}")
        return ", ".join(bounds)

    def _reaches(self, value: float, mark: float) -> bool:
        return value >= mark if self.greater_is_better else value <= mark


def threshold_of(fields: Mapping[str, str | int | bool]) -> Threshold:
    """Build a threshold from a suite's document, whose keys were checked."""
    numbers = {k: float(v) for k, v in fields.items() if k != "greater_is_better"}
    return Threshold(**numbers, greater_is_better=bool(fields.get("greater_is_better", True)))
