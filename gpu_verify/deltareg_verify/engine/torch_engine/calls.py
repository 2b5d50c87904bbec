"""The arguments and results of a module's call, passed by position or by name."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Mapping
from typing import cast

import torch
from torch import nn
from transformers.utils.generic import ModelOutput

Args = tuple[object, ...]
Kwargs = dict[str, object]


def parameters_of(module: nn.Module) -> tuple[str, ...]:
    """Name the parameters of a module's forward, in order."""
    return tuple(inspect.signature(module.forward).parameters)


def argument(names: tuple[str, ...], args: Args, kwargs: Kwargs, which: int | str) -> object:
    """Return one argument of a call; None when it was not passed.

    Args:
        names: The parameters of the module's forward.
        args: The arguments passed by position.
        kwargs: The arguments passed by name.
        which: A position or a name; either finds an argument that was passed the other way.
    """
    place, name = _both(names, which)
    if place is not None and place < len(args):
        return args[place]
    return kwargs.get(name)


def with_first(names: tuple[str, ...], args: Args, kwargs: Kwargs, value: torch.Tensor) -> tuple[Args, Kwargs]:
    """Return a call's arguments with another first one."""
    if args:
        return (value, *args[1:]), kwargs
    return args, {**kwargs, names[0]: value}


def output_of(output: object, which: int | str) -> object:
    """Return one output: a lone tensor, an item of a tuple, or an entry of a named collection."""
    match output:
        case ModelOutput() if isinstance(which, int):
            return _at(output.to_tuple(), which)
        case Mapping() if isinstance(which, str):
            return cast("Mapping[str, object]", output).get(which)
        case tuple() | list() if isinstance(which, int):
            return _at(tuple(cast("tuple[object, ...]", output)), which)
        case torch.Tensor() if which == 0:
            return output
        case _:
            return None


def with_output(output: object, value: torch.Tensor) -> object:
    """Return an output with another first tensor and all the rest unchanged."""
    match output:
        case ModelOutput():
            first = next(iter(output.keys()))
            return type(output)(**{**output, first: value})
        case tuple():
            return (value, *cast("tuple[object, ...]", output)[1:])
        case list():
            return [value, *cast("list[object]", output)[1:]]
        case _:
            return value


def _both(names: tuple[str, ...], which: int | str) -> tuple[int | None, str]:
    if isinstance(which, int):
        return which, names[which] if which < len(names) else ""
    return names.index(which) if which in names else None, which


def _at(values: tuple[object, ...], place: int) -> object:
    return values[place] if place < len(values) else None
