"""The result of a comparison: which margin was to be kept, and how surely it was."""

import math
from dataclasses import dataclass

from deltareg.statistics.intervals import Interval
from deltareg.suites.threshold import Judgement
from deltareg.wire import CheckOutcome, Comparison
from deltareg.words import Decision

_LETTERS = 6


@dataclass(frozen=True, slots=True)
class MarginComparison:
    """A finished comparison.

    Attributes:
        told: The measure with its estimate, in words.
        other: The other side, in words.
        against: The same as the suite names it.
        decision: What the last look showed.
        ends: The interval of the change around the measure, with `tail` on each side.
        tail: The tail of the last look.
        mark: The value to reach.
        baseline: The measure of the other side.
        is_upward: Whether more is better.
        n: How many samples were looked at.
        planned: How many samples each look sees, including looks that were not needed.
        look: The number of the last look, from 1 on.
        p: The error at which it would have been missed, by itself.
        needs: About how many samples would decide it; 0 where that is unknown.
        plain: The outcome of a threshold that asks for no change.
        undecided: What it means to be undecided: `warn`, `fail`, or that the `estimate` decides.
        value: The measure.
        worse: The outcome of a worse measure.
        code: The problem code of a worse measure.
        note: A remark: that the promoted version is itself worse.
        stands_in: Why the other side stands in for one without a value; empty if it does not.
    """

    description: str
    other: str
    against: str
    decision: Decision
    ends: Interval
    tail: float
    mark: float
    baseline: float
    is_upward: bool
    n: int
    planned: tuple[int, ...]
    look: int
    p: float
    needs: int
    plain: Judgement
    value: float
    undecided: str
    worse: str
    code: str
    note: str = ""
    stands_in: str = ""

    @property
    def outcome(self) -> tuple[CheckOutcome, str]:
        """The outcome of the check and its problem code: the gravest of all results."""
        if self.decision == "missed":
            return ("warn" if self.worse == "warn" else "fail"), self.code
        if self.plain == "fail":
            return ("warn" if self.worse == "warn" else "fail"), "below_threshold"
        means: CheckOutcome = "fail" if self.undecided == "fail" and self.worse != "warn" else "warn"
        if self.decision == "undecided" and not self._is_fine:
            return means, "undecided"
        if self.plain == "undecided":
            return means, "below_threshold"
        return ("warn", "worse_incumbent") if self.note else ("pass", "")

    @property
    def _is_fine(self) -> bool:
        """Whether the estimate decides what the interval leaves open, and reaches the mark."""
        reaches = self.value >= self.mark if self.is_upward else self.value <= self.mark
        return self.undecided == "estimate" and reaches

    @property
    def detail(self) -> str:
        """The result, in a sentence or two."""
        bound = "at least" if self.is_upward else "at most"
        confidence = f"{100 * (1 - 2 * self.tail):.4g} %"
        sentences = [
            f"{self.description}; {self.other} has {self.baseline:.4g}",
            f"paired with it, sample by sample: [{self.ends.low:.4g}, {self.ends.high:.4g}] with"
            f" {confidence} confidence, {bound} {self.mark:.4g} is asked",
        ]
        if len(self.planned) > 1:
            sentences.append(f"look {self.look} of {len(self.planned)}")
        if self.decision == "undecided" and self._is_fine:
            sentences.append("the interval does not decide it, the estimate does")
        elif self.decision == "undecided":
            sentences.append(f"undecided: {self._what_to_do}")
        if self.plain == "undecided":
            sentences.append("the interval does not decide the threshold")
        if self.stands_in:
            sentences.append(self.stands_in)
        if self.note:
            sentences.append(self.note)
        return "; ".join(sentences)

    @property
    def _what_to_do(self) -> str:
        if self.needs > self.n:
            return f"about {_round_up(self.needs)} samples would decide it, or a wider margin"
        return "more samples would decide it, or a wider margin"

    def answer(self) -> Comparison:
        """Return it as a verdict has it."""
        return Comparison(
            against=self.against,
            other=self.other,
            decision=self.decision,
            low=_finite(self.ends.low),
            high=_finite(self.ends.high),
            confidence=round(1 - 2 * self.tail, _LETTERS),
            margin=_finite(abs(self.mark - self.baseline)),
            n=self.n,
            look=self.look,
            looks=len(self.planned),
            most=self.planned[-1],
            p=_short(self.p),
            needs=self.needs,
            baseline=_finite(self.baseline),
        )


def _finite(value: float) -> float | None:
    return _short(value) if math.isfinite(value) else None


def _short(value: float) -> float:
    return float(f"{value:.{_LETTERS}g}")


def _round_up(count: int) -> int:
    """Round a number of samples to two digits, up."""
    unit = int("1" + "0" * max(0, len(str(count)) - 2))
    return -(-count // unit) * unit
