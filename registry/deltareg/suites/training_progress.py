"""How far a training had come when its delta was saved, and whether it was done.

A job whose time is over leaves its last checkpoint. The loss of that fell as it should, all of its
weights are whole, and what it gives is found again; only whoever trained knows that the rate was
still high, and that two thirds of what it was to learn from were never seen.
"""

import math
from dataclasses import dataclass

_MOST_STEPS = 1 << 53


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training had come.

    Attributes:
        step: Steps of the optimizer that were made.
        planned: Steps that were planned; 0 where nobody knows.
        rate_left: The learning rate, as a share of what its schedule is a share of: 1 where it has
            not fallen, or there is no schedule.
        is_chosen: Whether it is what was wanted: the best by the training's own evaluation, or of a
            training that was stopped by it.
    """

    step: int
    planned: int
    rate_left: float = 1.0
    is_chosen: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no count and no rate; whoever pushes may have written it."""
        if not (0 <= self.step <= _MOST_STEPS and 0 <= self.planned <= _MOST_STEPS):
            raise ValueError("a number of steps is none")
        if not (math.isfinite(self.rate_left) and self.rate_left >= 0):
            raise ValueError("the rate that is left is no share")

    @property
    def share(self) -> float:
        """How much of what was planned was done; 1 where nobody knows."""
        return self.step / self.planned if self.planned > 0 else 1.0

    @property
    def description(self) -> str:
        """It in words: `step 120 of 360, the rate at 67% of its full`."""
        of = f" of {self.planned:,}" if self.planned > 0 else ""
        rate = f", the rate at {self.rate_left:.0%} of its full" if self.rate_left != 1 else ""
        choice = ", chosen by its evaluation" if self.is_chosen else ""
        return f"step {self.step:,}{of}{rate}{choice}"

    def is_unfinished(self, *, least_share: float, most_rate_left: float) -> bool:
        """Whether it is of long before the plan's end, where the rate had hardly begun to fall.

        A rate that is constant has no end that it falls to: any step may be the last.
        """
        is_early = self.share <= least_share and most_rate_left < self.rate_left < 1
        return is_early and not self.is_chosen
