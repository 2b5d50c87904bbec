"""What a check of a verdict found, on the wire."""

from deltareg.wire.messages import Answer
from deltareg.words import CheckOutcome, Decision


class Comparison(Answer):
    """What a check showed of a margin: how surely no more was lost than may be.

    `other` is what the version was compared with and `baseline` what that has. `low` and `high` are
    the ends of the interval around the check's value, with that `confidence`; the check's threshold
    is the mark to be reached, `margin` from the baseline. Of the planned `looks` at up to `most`
    samples, `look` was the last, at `n`. `p` is the error at which it would have missed the mark; older
    verdicts held a `family` together by Holm's procedure. About `needs` samples would decide it; 0: unknown.
    """

    against: str
    other: str = ""
    decision: Decision
    low: float | None
    high: float | None
    confidence: float
    margin: float | None
    n: int
    look: int = 1
    looks: int = 1
    most: int = 0
    p: float = 1.0
    family: int = 1
    needs: int = 0
    baseline: float | None = None


class CheckResult(Answer):
    """The outcome of one check; `comparison` is its gravest comparison, `beside` has the others."""

    name: str
    value: float | int | str | None = None
    threshold: float | int | str | None = None
    baseline: float | int | str | None = None
    verdict: CheckOutcome
    seconds: float = 0.0
    code: str = ""
    detail: str = ""
    comparison: Comparison | None = None
    beside: list[Comparison] = []
