"""A copy of a network that may be changed: its own modules over the same memory."""

from collections.abc import Collection
from copy import deepcopy
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def copy_network(module: Module, *, written: Collection[str]) -> Module:
    """Copy a network's modules but, except for the `written` parameters, not its values.

    To give a parameter of the copy other data leaves the network alone; to write into its memory
    does not, and ends the process where that is a file's. What is tied stays tied.

    Args:
        module: The network.
        written: Parameters whose memory will be written to.
    """
    memo: dict[int, object] = {}
    for name, own in module.named_parameters():
        value = own.detach()
        value = value.clone() if name in written else value
        memo[id(own)] = nn.Parameter(value, requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach()
    return deepcopy(module, memo)
