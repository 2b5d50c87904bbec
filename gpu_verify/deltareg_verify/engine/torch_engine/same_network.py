"""Whether two networks are one function: then one of them need not run to know what it gives."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping

import torch
from torch import nn

_VALUES, _PARTS = ("_parameters", "_buffers"), "_modules"


def is_same_network(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks have the same modules, settings and values, bit for bit.

    What cannot be compared counts as different.
    """
    own, others = (dict(network.named_modules(remove_duplicate=False)) for network in (one, other))
    return own.keys() == others.keys() and all(_is_same_module(own[name], others[name]) for name in own)


def _is_same_module(one: nn.Module, other: nn.Module) -> bool:
    if type(one) is not type(other):
        return False
    own, others = vars(one), vars(other)
    settings = own.keys() - {*_VALUES, _PARTS}
    return (
        own.keys() == others.keys()
        and all(_is_same_setting(own[name], others[name]) for name in settings)
        and all(_have_same_values(own[name], others[name]) for name in _VALUES)
    )


def _is_same_setting(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except (RuntimeError, ValueError, TypeError):  # tensors that are no buffers
        return False


def _have_same_values(own: Mapping[str, torch.Tensor | None], others: Mapping[str, torch.Tensor | None]) -> bool:
    return own.keys() == others.keys() and all(_is_same_value(own[name], others[name]) for name in own)


def _is_same_value(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    alike = (one.dtype, one.device, one.shape, one.stride()) == (other.dtype, other.device, other.shape, other.stride())
    return alike and (one.data_ptr() == other.data_ptr() or torch.equal(_bits(one), _bits(other)))


def _bits(value: torch.Tensor) -> torch.Tensor:
    """Return bytes: a NaN is itself, and zero has a sign."""
    return value.detach().contiguous().flatten().view(torch.uint8)
