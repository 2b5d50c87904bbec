"""References of a comparison besides the base and the version that a channel serves.

A reference does not move with every promotion, so small losses that each stay within their margin
do not add up unseen, and an incumbent that is broken is noticed.
"""

import re
from dataclasses import dataclass

from deltareg.errors import InvalidInput
from deltareg.refs import Ref

BASE, PROMOTED = "base", "promoted"
MOST_BACK = 100
_BEST = re.compile(r"best of ([1-9]\d{0,2})")


@dataclass(frozen=True, slots=True)
class BestOf:
    """The version with the best value of a check among the last few that passed its suite."""

    count: int

    def __str__(self) -> str:
        """Format it as suites write it."""
        return f"best of {self.count}"


Reference = BestOf | Ref


def read_reference(text: str) -> Reference | None:
    """Read `best of 5` or `ns/name:v3`; None for anything else."""
    match = _BEST.fullmatch(text)
    if match is not None:
        count = int(match[1])
        return BestOf(count) if 2 <= count <= MOST_BACK else None
    try:
        ref = Ref.parse(text)
    except InvalidInput:
        return None
    is_fixed = ref.version is not None and not ref.host
    return ref if is_fixed and str(ref) == text else None
