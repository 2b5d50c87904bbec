"""How far a learning rate has fallen, by whatever schedules it."""

import math
from typing import cast


def rate_left(scheduler: object) -> float:
    """Give the learning rate as a share of the one that its schedule is a share of.

    Args:
        scheduler: One of torch's, or what a library has put around it. Of None, and of one that
            does not say what it began from, the rate counts as full.
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
