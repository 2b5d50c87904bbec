"""What inputs of a network are drawn from: its forward, its config, a source of numbers."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

_WRAPPED, _WRAPPED_CONFIG = "vlm", "vlm_config"


@dataclass(frozen=True, slots=True)
class NetworkDraw:
    """The source and the sizes of a network's inputs.

    Attributes:
        random: The source of the numbers.
        module: The network.
        rows: How many examples.
        tokens: How many tokens a text has, where the network can take as many.
    """

    random: np.random.Generator
    module: PreTrainedModel
    rows: int
    tokens: int

    @property
    def config(self) -> PretrainedConfig:
        """The network's config; of a retriever, which wraps another network, that one's."""
        config: PretrainedConfig = self.module.config
        return getattr(config, _WRAPPED_CONFIG, None) or config

    @property
    def inner(self) -> PreTrainedModel:
        """The network without its head, which makes features of images and sounds."""
        wrapped: PreTrainedModel = getattr(self.module, _WRAPPED, self.module)
        return cast("PreTrainedModel", wrapped.base_model)

    @property
    def takes(self) -> Collection[str]:
        """The parameters of its forward."""
        return inspect.signature(self.module.forward).parameters

    def part(self, *names: str) -> PretrainedConfig:
        """Return the first config inside the network's that has one of these names; else its own."""
        inner = (getattr(self.config, name, None) for name in names)
        return next((one for one in inner if isinstance(one, PretrainedConfig)), self.config)

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw real numbers."""
        return torch.from_numpy(self.random.standard_normal(shape).astype(np.float32))

    def whole(self, below: int, *shape: int) -> torch.Tensor:
        """Draw whole numbers."""
        return torch.from_numpy(self.random.integers(0, below, shape))


def has(config: PretrainedConfig, *names: str) -> bool:
    """Return whether a config has all of these, and none of them is None."""
    return all(getattr(config, name, None) is not None for name in names)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width of a size that may be one number for both."""
    if isinstance(value, int):
        return value, value
    height, width = value[-2:]  # of video it has the frames before them
    return int(height), int(width)
