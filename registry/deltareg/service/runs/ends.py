"""Why a run came to nothing, as its row and the verdict of a verification say it."""

from collections.abc import Mapping
from typing import Final

WHY: Final = "why"
"""In the result of a run that came to nothing and is not tried again by itself: one of the codes below."""
OUT_OF_TIME: Final = "out_of_time"
UNMEASURED: Final = "base_unmeasured"
CANCELLED: Final = "cancelled"
CUT_SHORT: Final = "cut_short"


def result_of_end(code: str) -> dict[str, str]:
    """Return the result that a row stores for a code; an empty code is for what was tried often enough."""
    return {WHY: code} if code else {}


def code_of(result: Mapping[str, object] | None) -> str:
    """Return the code of a run's end; empty where there is none."""
    return str((result or {}).get(WHY, ""))
