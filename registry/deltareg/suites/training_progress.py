"""How far a training had progressed when its delta was saved, and whether it was complete.

A job that runs out of time leaves its last checkpoint. Its loss fell as it should, its weights are
intact and its outputs can be reproduced. Only the training process knows that the learning rate was
still high and that two thirds of the data were never seen.
"""

import math
from dataclasses import dataclass

_MOST_STEPS = 1 << 53


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The progress of a training.

    Attributes:
        step: Optimizer steps done.
        planned: Planned steps; 0 if unknown.
        rate_left: The learning rate as a share of its full value in the schedule: 1 if it has not
            fallen, or without a schedule.
        is_chosen: Whether it was selected: as the best by the training's own evaluation, or by
            early stopping.
    """

    step: int
    planned: int
    rate_left: float = 1.0
    is_chosen: bool = False

    def __post_init__(self) -> None:
        """Refuse values that are no counts or rates; anybody who pushes may have written them."""
        if not (0 <= self.step <= _MOST_STEPS and 0 <= self.planned <= _MOST_STEPS):
            raise ValueError("a number of steps is none")
        if not (math.isfinite(self.rate_left) and self.rate_left >= 0):
            raise ValueError("the rate that is left is no share")

    @property
    def share(self) -> float:
        """The share of the planned steps that were done; 1 if unknown."""
        return self.step / self.planned if self.planned > 0 else 1.0

    @property
    def description(self) -> str:
        """Describe it: `step 120 of 360, the rate at 67% of its full`."""
        of = f" of {self.planned:,}" if self.planned > 0 else ""
        rate = f", the rate at {self.rate_left:.0%} of its full" if self.rate_left != 1 else ""
        choice = ", chosen by its evaluation" if self.is_chosen else ""
        return f"step {self.step:,}{of}{rate}{choice}"

    def is_unfinished(self, *, least_share: float, most_rate_left: float) -> bool:
        """Whether it was saved long before the plan's end, when the rate had hardly begun to fall.

        A constant rate does not fall towards an end, so any step may be the last.
        """
        is_early = self.share <= least_share and most_rate_left < self.rate_left < 1
        return is_early and not self.is_chosen

    def is_raised(self, *, most_rate_left: float) -> bool:
        """Whether it ended at a rate above the one that its schedule began from.

        A schedule may rise on its way; one that ends so was restarted, or broken off at its height.
        """
        return self.rate_left > most_rate_left and not self.is_chosen
