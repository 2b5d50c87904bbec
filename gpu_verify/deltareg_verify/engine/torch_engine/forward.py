"""One forward of a network with a plan on it; afterwards the network is the base again."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from deltareg.delta.kind import ActivationHook, PrefixInsert
from deltareg_verify.engine.torch_engine.hooks import Passed, attach_hooks
from deltareg_verify.engine.torch_engine.networks.calling import Result, call
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_torch
from deltareg_verify.engine.torch_engine.plan import NetworkPlan
from deltareg_verify.engine.torch_engine.prefix import insert_prefixes
from deltareg_verify.engine.torch_engine.swap import swap_tensors


class HookObserver(Protocol):
    """Called every time that a hook or an insert has acted; a hook passes what it did."""

    def __call__(self, effect: ActivationHook | PrefixInsert, passed: Passed | None = None, /) -> None:
        """Record it."""


@dataclass(frozen=True, slots=True)
class ForwardTrace:
    """What took part in a forward, by name.

    Attributes:
        result: The outputs.
        seen: The names of all that took part.
        moved: The hooks among them that stand for no weight, and whether they ever returned
            something other than their input.
    """

    result: Result
    seen: Collection[str]
    moved: Mapping[str, bool]


class TensorWatch(TorchFunctionMode):
    """Records which of some tensors take part in the computation of another tensor.

    Reading a property, such as a weight's dtype, does not count, as it yields no tensor.
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
        """Record the arguments of every torch function."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, (torch.Tensor, tuple)):
            for value in (*args, *(kwargs or {}).values()):
                self.seen.update(self._names.get(id(value), ()))
        return result


@contextmanager
def put_on(
    module: nn.Module, plan: NetworkPlan, ops: TorchOps, fired: HookObserver
) -> Generator[Mapping[str, torch.Tensor]]:
    """Keep a delta on a network for as long as the block runs.

    Inserts go on before hooks, so hooks see the lengths and masks that the layers see.

    Args:
        module: The network.
        plan: The delta on it.
        ops: The operations that its formulas run on.
        fired: Called every time that a hook or an insert has acted.

    Yields:
        The new weights in the network, by parameter name.
    """
    with ExitStack() as stack:
        weights = stack.enter_context(swap_tensors(module, plan.attached))
        stack.enter_context(insert_prefixes(module, plan.inserts, ops, fired))
        stack.enter_context(attach_hooks(module, plan.hooks, ops, fired))
        yield weights


def forward(module: nn.Module, inputs: Mapping[str, torch.Tensor], *, seed: int = 0) -> Result:
    """Run the network once, in its current state, without a cache.

    A network that draws at random, as ViLT does the order of its patches, draws the same each time.

    Args:
        module: The network.
        inputs: By parameter of its forward.
        seed: The seed of what it draws.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return call(module, inputs)


def watched_forward(
    module: nn.Module, plan: NetworkPlan, ops: TorchOps, inputs: Mapping[str, torch.Tensor], *, seed: int = 0
) -> ForwardTrace:
    """Run the network once with a plan on it, and watch; the rest is as in `forward`."""
    fired: set[str] = set()
    moved: dict[str, bool] = {}
    weighed = set(plan.targets.values())

    def note_fired(effect: ActivationHook | PrefixInsert, passed: Passed | None = None, /) -> None:
        name = plan.labels[id(effect)]
        fired.add(name)
        if passed is not None and name not in weighed:
            moved[name] = moved.get(name, False) or not torch.equal(*map(as_torch, passed))

    with put_on(module, plan, ops, note_fired) as weights, TensorWatch(weights) as watch:
        result = forward(module, inputs, seed=seed)
    return ForwardTrace(result, fired | {plan.targets[name] for name in watch.seen}, moved)
