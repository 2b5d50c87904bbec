"""One forward of a network in one state; the network is the base again afterwards, bit for bit."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from torch import nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from deltareg_verify.engine import State
from deltareg_verify.torch_engine.branch import Branch
from deltareg_verify.torch_engine.plan import Plan

Result = Mapping[str, object]


class Watch(TorchFunctionMode):
    """Notes which of some tensors take part in the computation of another tensor.

    Reading a property, such as a weight's dtype, is not taking part: no tensor comes of it.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self._names: dict[int, list[str]] = {}
        for name, tensor in tensors.items():
            self._names.setdefault(id(tensor), []).append(name)

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Note the arguments of every torch function."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, (torch.Tensor, tuple)):
            for value in (*args, *(kwargs or {}).values()):
                self.seen.update(self._names.get(id(value), ()))
        return result


def forward(
    module: nn.Module, plan: Plan, state: State, inputs: Mapping[str, torch.Tensor]
) -> tuple[Result, set[str]]:
    """Run the network once.

    Args:
        module: The base.
        plan: The delta on it.
        state: The base alone, or with the delta put on in one of two ways.
        inputs: By parameter of the network's forward.

    Returns:
        The outputs, and the names of the parameters and module paths of the plan that took part.
    """
    weights = {"base": {}, "attached": plan.attached, "folded": plan.folded}[state]
    fired: set[str] = set()
    watch = Watch(weights)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if state == "attached":
            stack.enter_context(_branches(module, plan, fired))
        stack.enter_context(watch)
        result = functional_call(
            module, weights, kwargs=_arguments(module, inputs), tie_weights=False
        )
    return cast(Result, result), fired | watch.seen


def _arguments(module: nn.Module, inputs: Mapping[str, torch.Tensor]) -> dict[str, object]:
    config = getattr(module, "config", None)
    known: dict[str, object] = {"return_dict": True}
    if getattr(config, "use_cache", None) is not None:
        known["use_cache"] = False
    return {**inputs, **known}


@contextmanager
def _branches(module: nn.Module, plan: Plan, fired: set[str]) -> Generator[None]:
    handles: list[RemovableHandle] = []
    try:
        for path, branch in plan.branches.items():
            hook = _hook(path, branch, fired)
            handles.append(module.get_submodule(path).register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(
    path: str, branch: Branch, fired: set[str]
) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
    def add(
        _module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
    ) -> torch.Tensor:
        fired.add(path)
        return branch(inputs[0], output.float()).to(output.dtype)

    return add
