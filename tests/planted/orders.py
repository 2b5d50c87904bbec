"""An order: which delta is trained on which base, how long, on what."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from peft import PeftConfig

from tests.planted.bases import SUBJECTS, Subject
from tests.planted.data import Examples

BATCH = 32
FormMaker = Callable[["Order"], PeftConfig]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to tune a base.

    Attributes:
        name: What people call it.
        base: The base's name.
        kind: The registry's word for what comes out.
        form: Makes what peft is told; None where no library but torch takes part.
        rate: The learning rate that suits it.
        steps: How many steps it takes.
        trains: For a delta without peft: the part of names of the weights that learn.
        layout: For a delta without peft: how it is saved.
        rank: Its usual rank.
    """

    name: str
    base: str
    kind: str
    form: FormMaker | None
    rate: float
    steps: int = 60
    trains: str = ""
    layout: str = ""
    rank: int = 4

    @property
    def subject(self) -> Subject:
        """The base's network and examples."""
        return SUBJECTS[self.base]


@dataclass(frozen=True, slots=True)
class Order:
    """One delta to be trained.

    Attributes:
        recipe: How.
        seed: Of initial values and batches.
        rank: Its rank, where the form has one.
        rate: The learning rate.
        steps: How many steps.
        on_twin: Whether it is trained on the base's twin.
        pool: From how many examples batches are drawn; 0 draws new ones every time.
        labels: What a label is saved as, by its number; empty leaves them.
    """

    recipe: Recipe
    seed: int
    rank: int
    rate: float
    steps: int
    on_twin: bool = False
    pool: int = 0
    labels: tuple[int, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, seed: int) -> Self:
        """Order a recipe with a rank, rate and length that vary with the seed."""
        wide, fast, long = np.random.default_rng(seed).random(3)
        rank = max(2, min(16, recipe.rank * (2 if wide > 0.5 else 1)))
        rate = float(recipe.rate * (0.75 + 0.6 * fast))
        steps = round(recipe.steps * (0.85 + 0.4 * long))
        return cls(recipe, seed, rank, rate, steps)

    def with_(self, **changes: object) -> Self:
        """Give the same order but for some fields."""
        return replace(self, **changes)  # type: ignore[arg-type]  # fields by name

    def batches(self) -> list[Examples]:
        """Draw what it learns from."""
        subject, start = self.recipe.subject, 100_000 * self.seed
        if self.pool:
            pool = subject.draw("tuned", self.pool, seed=start)
            return [self._labelled(pool)] * self.steps
        drawn = (subject.draw("tuned", BATCH, seed=start + step) for step in range(self.steps))
        return [self._labelled(batch) for batch in drawn]

    def _labelled(self, batch: Examples) -> Examples:
        if not self.labels:
            return batch
        return batch | {"labels": torch.tensor(self.labels)[batch["labels"]]}
