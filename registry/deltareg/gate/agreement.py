"""Whether the verdicts of several workers agree, and which workers are independent.

Two verdicts agree if every check that the suite requires has the same outcome in both, and measures
differ by no more than the suite's tolerance. Workers are independent if worker, key and host
differ; an unnamed host is independent of none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltareg.gate.signers import VerdictSigner

TOLERANCE = 0.05
"""How far a measure may be from another worker's, as a share of the larger, where no suite says."""
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class CheckFact:
    """The outcome of a check, its measure and its threshold; None for values that are no numbers."""

    outcome: str
    value: float | None = None
    threshold: float | None = None


def disagreement(
    one: Mapping[str, CheckFact],
    other: Mapping[str, CheckFact],
    *,
    required: Mapping[str, bool],
    tolerance: float = TOLERANCE,
) -> str:
    """Describe where two sets of checks differ; empty if they agree.

    Args:
        one: The checks of a verdict, by name.
        other: The checks of another verdict.
        required: The checks that count; for each, whether `n/a` is allowed.
        tolerance: How much measures may differ, as a share of the larger.
    """
    for name, may_not_apply in required.items():
        first, second = one.get(name), other.get(name)
        if may_not_apply and any(fact and fact.outcome == "n/a" for fact in (first, second)):
            continue
        if first is None or second is None or first.outcome != second.outcome:
            outcomes = [fact.outcome if fact else "nothing" for fact in (first, second)]
            return f"{name} is {outcomes[0]} for one and {outcomes[1]} for the other"
        if not _are_near(first, second, tolerance):
            return f"{name} is {first.value} for one and {second.value} for the other"
    return ""


def independent_of(signer: VerdictSigner, others: Sequence[VerdictSigner]) -> bool:
    """Whether a signer differs from all others in worker, key and host."""
    return bool(signer.host and signer.worker) and all(
        signer.host != other.host and signer.worker != other.worker and signer.keyid != other.keyid and bool(other.host)
        for other in others
    )


def _are_near(one: CheckFact, other: CheckFact, tolerance: float) -> bool:
    if one.value is None or other.value is None:
        return one.value is other.value
    if not (math.isfinite(one.value) and math.isfinite(other.value)):
        return str(one.value) == str(other.value)
    # Far below its threshold a measure is rounding, which differs from one machine to another. Each
    # worker says the threshold itself: the smaller counts, so that one who lies widens nothing.
    threshold = min(abs(one.threshold or 0.0), abs(other.threshold or 0.0))
    scale = max(abs(one.value), abs(other.value), threshold)
    return abs(one.value - other.value) <= max(_LEAST, tolerance * scale)
