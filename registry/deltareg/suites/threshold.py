"""What a measure must reach, in the four terms of MLflow's MetricThreshold, held against intervals.

A measure on few samples neither passes nor fails by a hair: it fails where even the better end of
its interval misses the mark, passes where the measure itself reaches it, and is told as undecided
in between.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from deltareg.suites.estimate import Estimate

Judgement = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """What is asked; at least one of the first three is given.

    A negative change says how much may be lost: -0.2 of a relative change allows a fifth.

    Attributes:
        threshold: The measure itself must reach it.
        min_absolute_change: It must be better than the baseline by this much.
        min_relative_change: It must be better by this share of the baseline.
        greater_is_better: Whether more is better, as of accuracy; less is, as of perplexity.
    """

    threshold: float | None = None
    min_absolute_change: float | None = None
    min_relative_change: float | None = None
    greater_is_better: bool = True

    @property
    def needs_baseline(self) -> bool:
        """Whether it says something about a change."""
        return self.min_absolute_change is not None or self.min_relative_change is not None

    @property
    def only_change(self) -> "Threshold":
        """What it asks of the change alone."""
        return replace(self, threshold=None)

    @property
    def without_change(self) -> "Threshold | None":
        """What it asks of the measure itself; None where it asks for a change alone."""
        if self.threshold is None:
            return None
        return replace(self, min_absolute_change=None, min_relative_change=None)

    def mark(self, baseline: float | None) -> float:
        """Give the one number that must be reached: the hardest of what is asked.

        Args:
            baseline: The same measure of what it is compared with; needed where a change is asked.
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
        """Hold an estimate against what is asked; a NaN fails."""
        mark = self.mark(baseline)
        best = found.high if self.greater_is_better else found.low
        if self._reaches(found.value, mark):
            return "pass"
        return "undecided" if self._reaches(best, mark) and math.isfinite(found.value) else "fail"

    def describe(self, against: str) -> str:
        """Say what a measure must reach: `at most 1.5 x base`."""
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
    """Read a threshold of a suite's document, whose keys were checked."""
    numbers = {k: float(v) for k, v in fields.items() if k != "greater_is_better"}
    return Threshold(**numbers, greater_is_better=bool(fields.get("greater_is_better", True)))
