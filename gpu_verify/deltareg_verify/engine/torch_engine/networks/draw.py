"""Draws the inputs of a model of diffusers, by numbers of its config."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from deltareg.documents.json_values import is_count


@dataclass(frozen=True, slots=True)
class InputGenerator:
    """The source and the sizes of drawn inputs.

    Attributes:
        random: The source of the numbers.
        config: The model's config.
        rows: How many examples.
        tokens: How many vectors a text has.
    """

    random: np.random.Generator
    config: Mapping[str, object]
    rows: int
    tokens: int

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw real numbers."""
        return torch.from_numpy(self.random.standard_normal(shape).astype(np.float32))

    def whole(self, below: int, *shape: int) -> torch.Tensor:
        """Draw whole numbers."""
        return torch.from_numpy(self.random.integers(0, below, shape))

    def number(self, *names: str) -> int:
        """Return the first of these numbers that the config has, the last item of a list; else zero."""
        return next((value for name in names if (value := self.numbers(name)[-1])), 0)

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a list of numbers of the config; a single number is a list of one, a missing one zero."""
        setting = self.config.get(name)
        values = setting if isinstance(setting, (list, tuple)) else (setting,)
        numbers = tuple(value for value in values if is_count(value))
        return numbers or (0,)
