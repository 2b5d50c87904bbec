"""Weights that are brought to a network's device for one call at a time, and dropped after it.

A stand-in is a parameter without memory: it knows shape, dtype and device, and gets its value when
a torch function is called with it, whoever calls. Code that bypasses torch's functions finds
storage of no bytes, and fails: no result ever comes from a weight that was not there.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from deltareg.errors import Inconclusive

_PICK = cast("Callable[[torch.Tensor, object], torch.Tensor]", torch.Tensor.__getitem__)
_VALUES = frozenset({"T", "mT", "H", "mH", "data", "real", "imag"})
_QUESTIONS = frozenset(
    {"dim", "element_size", "get_device", "is_complex", "is_floating_point", "nelement", "numel", "size", "__len__"}
)
_MEMORY = frozenset({"data_ptr", "storage", "untyped_storage", "__dlpack__"})


@dataclass(slots=True)
class StreamPlacement:
    """Where values are brought.

    Attributes:
        device: The network's device.
        is_forced: Whether to stream even values that are there already, for tests.
        peak_bytes: The most bytes brought for one call.
    """

    device: torch.device
    is_forced: bool = False
    peak_bytes: int = 0

    def bring(self, value: torch.Tensor, dtype: torch.dtype) -> nn.Parameter:
        """Create a parameter from a value elsewhere; a value that is already in place is used directly."""
        own = value.detach()
        if own.device == self.device and own.dtype == dtype and not self.is_forced:
            return nn.Parameter(own, requires_grad=False)
        return self._stand_in(own.shape, dtype, home=lambda: own, is_kept=True)

    def make(self, give: Callable[[], torch.Tensor], shape: Sequence[int], dtype: torch.dtype) -> nn.Parameter:
        """Create a parameter from a value that is computed for every call."""
        return self._stand_in(shape, dtype, home=give, is_kept=False)

    def note(self, tensors: Sequence[torch.Tensor]) -> None:
        """Count what is in place for a call."""
        self.peak_bytes = max(self.peak_bytes, sum(one.nbytes for one in tensors))

    def _stand_in(
        self, shape: Sequence[int], dtype: torch.dtype, *, home: Callable[[], torch.Tensor], is_kept: bool
    ) -> "DeferredParameter":
        outline = torch.zeros((), dtype=dtype, device=self.device).expand(tuple(shape))
        outline.untyped_storage().resize_(0)
        parameter = DeferredParameter(outline, requires_grad=False)
        parameter.home, parameter.is_kept, parameter.placing = home, is_kept, self
        return parameter


class DeferredParameter(nn.Parameter):
    """A parameter whose value is elsewhere, or not yet computed.

    Attributes:
        home: Returns the value.
        is_kept: Whether the value stays there, so that a call gets a copy.
        placing: Where it is brought.
    """

    home: Callable[[], torch.Tensor]
    is_kept: bool
    placing: StreamPlacement

    def place(self, index: object = ...) -> torch.Tensor:
        """Return the value, or a part of it, on the device."""
        value = self.home().detach()
        part = value if index is ... else _PICK(value, _on(value.device, index))
        return part.to(self.placing.device, self.dtype, copy=self.is_kept)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Answer a question about the parameter, or call the function with its value."""
        arguments = dict(kwargs or {})
        if func is torch.Tensor.__getitem__ and isinstance(args[0], cls):
            part = args[0].place(args[1])
            args[0].placing.note([part])
            return part
        question = _question(func)
        if question is None:
            return _call_with_values(func, args, arguments)
        if question in _MEMORY:
            raise Inconclusive(
                "a kernel of the base reads the memory of its weights, so they must stay",
                fix="run it on a worker with memory for all of it",
            )
        return super().__torch_function__(func, types, tuple(args), arguments)  # type: ignore[no-untyped-call]  # torch has no types for it


def stand_in(module: nn.Module, homes: Mapping[str, torch.Tensor], placing: StreamPlacement) -> None:
    """Replace a network's parameters with stand-ins, except those already in place.

    Tied parameters stay tied. Buffers are few and small, so they move once.

    Args:
        module: The network; shapes and dtypes are its parameters'.
        homes: Where the values lie, by parameter name.
        placing: Where they are brought.
    """
    stand_ins: dict[int, nn.Parameter] = {}
    for path, owner in module.named_modules():
        for name, own in list(owner.named_parameters(recurse=False, remove_duplicate=False)):
            if id(own) not in stand_ins:
                home = homes[f"{path}.{name}" if path else name]
                stand_ins[id(own)] = placing.bring(home, own.dtype)
            setattr(owner, name, stand_ins[id(own)])
        for name, own_buffer in list(owner.named_buffers(recurse=False)):
            setattr(owner, name, own_buffer.to(placing.device))


def _question(func: Callable[..., object]) -> str | None:
    """Name what a function asks that needs no value; None for one that computes."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = str(getattr(getattr(func, "__self__", None), "__name__", ""))
        return None if name in _VALUES else name
    return name if name in _QUESTIONS or name in _MEMORY else None


_Placed = dict[int, tuple[DeferredParameter, torch.Tensor]]


def _call_with_values(func: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    placed: _Placed = {}
    new_args = [_with_values(one, placed) for one in args]
    new_kwargs = {name: _with_values(one, placed) for name, one in kwargs.items()}
    first = next(one for one, _ in placed.values())
    first.placing.note([one for _, one in placed.values()])
    return func(*new_args, **new_kwargs)


def _with_values(given: object, placed: _Placed) -> object:
    """Replace stand-ins with their values. No closure: a cycle would keep them until collected."""
    match given:
        case DeferredParameter():
            if id(given) not in placed:
                placed[id(given)] = (given, given.place())
            return placed[id(given)][1]
        case tuple() | list() if type(given) in {tuple, list}:
            parts = [_with_values(one, placed) for one in cast("Sequence[object]", given)]
            return type(given)(parts)
        case _:
            return given


def _on(device: torch.device, index: object) -> object:
    """Move an index to the device of what it indexes."""
    match index:
        case torch.Tensor():
            return index.to(device)
        case tuple():
            return tuple(_on(device, one) for one in cast("tuple[object, ...]", index))
        case _:
            return index
