"""Swaps other weights into a live network for a while: pointers change, never values."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def swap_tensors(module: nn.Module, values: Mapping[str, torch.Tensor]) -> Generator[Mapping[str, torch.Tensor]]:
    """Replace parameters and buffers with tensors for as long as the block runs.

    The network's own tensors are set aside and put back as the same objects, so it is what it was,
    bit for bit, even if the block or the swap itself fails halfway.

    Args:
        module: The network.
        values: By name of the parameter or buffer; shapes may differ from what is there.

    Yields:
        The tensors now in place, by the same names.
    """
    with ExitStack() as stack:
        yield {name: _swap(module, name, value, stack) for name, value in values.items()}


def _swap(module: nn.Module, name: str, value: torch.Tensor, stack: ExitStack) -> torch.Tensor:
    path, _, attribute = name.rpartition(".")
    owner = module.get_submodule(path)
    own = getattr(owner, attribute)
    is_parameter = isinstance(own, nn.Parameter)
    is_made = isinstance(value, nn.Parameter)
    new = nn.Parameter(value, requires_grad=False) if is_parameter and not is_made else value
    stack.callback(setattr, owner, attribute, own)
    setattr(owner, attribute, new)
    return new
