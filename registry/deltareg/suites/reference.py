"""References of a comparison besides the base and the version that a channel serves.

A reference does not move with every promotion, so small losses that each stay within their margin
do not add up unseen, and an incumbent that is broken is noticed. The best that a channel has served
moves only to what is shown to be better; the best of the last few forgets.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from deltareg.errors import InvalidInput
from deltareg.refs import Ref

BASE, PROMOTED, BEST = "base", "promoted", "best"
MOST_BACK = 100
IS_ITSELF = "is this version itself"
"""How the reason ends for which a version is not compared with a reference: it is that version."""
_BEST_OF = re.compile(r"best of ([1-9]\d{0,2})")


@dataclass(frozen=True, slots=True)
class BestOf:
    """The version with the best value of a check among the last few that passed its suite."""

    count: int

    def __str__(self) -> str:
        """Format it as suites write it."""
        return f"best of {self.count}"


@dataclass(frozen=True, slots=True)
class Best:
    """The version that the channel has served and none after it was shown to be better than."""

    def __str__(self) -> str:
        """Format it as suites write it."""
        return BEST


Reference = Best | BestOf | Ref


@lru_cache(maxsize=512)
def read_reference(text: str) -> Reference | None:
    """Read `best`, `best of 5` or `ns/name:v3`; None for anything else."""
    if text == BEST:
        return Best()
    match = _BEST_OF.fullmatch(text)
    if match is not None:
        count = int(match[1])
        return BestOf(count) if 2 <= count <= MOST_BACK else None
    try:
        ref = Ref.parse(text)
    except InvalidInput:
        return None
    is_fixed = ref.version is not None and not ref.host
    return ref if is_fixed and str(ref) == text else None


def is_best(name: str) -> bool:
    """Whether a reference is chosen by the measure of a check, and so belongs to that check."""
    return isinstance(read_reference(name), Best | BestOf)
