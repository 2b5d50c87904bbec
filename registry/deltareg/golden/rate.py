"""How far a learning rate has fallen, whatever schedules it."""

import math
from typing import cast


def rate_left(scheduler: object) -> float:
    """Return the learning rate as a share of the one that its schedule started from.

    Args:
        scheduler: A scheduler of torch, or a library's wrapper of one. For None, and for one that
            does not say what it started from, the rate counts as full.
    """
    inner = getattr(scheduler, "scheduler", scheduler)
    newest, full = getattr(inner, "get_last_lr", None), getattr(inner, "base_lrs", None)
    if not callable(newest) or not full:
        return 1.0
    try:
        pairs = zip(cast("list[float]", newest()), cast("list[float]", full), strict=True)
        share = max((float(now) / float(was) for now, was in pairs if was), default=1.0)
    except (AttributeError, TypeError, ValueError):  # it has made no step, or keeps something else
        return 1.0
    return share if math.isfinite(share) and share >= 0 else 1.0
