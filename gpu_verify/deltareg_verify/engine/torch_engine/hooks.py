"""Activation hooks on a live network: the effects of a delta between its modules.

Hooks on one module run in order, in float32, and the result is rounded once to the dtype that the
module works in. What they read of other modules (taps) is what went in or came out in the same
forward, after other hooks.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from deltareg.delta.kind import ActivationHook, HookInputs, Tap
from deltareg.delta.maths.formula import Array
from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.calls import argument, output_of, parameters_of, with_first, with_output
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_array, as_torch
from deltareg_verify.engine.torch_engine.prompts import Prompts, cache_of

Args = tuple[object, ...]
Kwargs = dict[str, object]
Passed = tuple[Array, Array]
"""What a hook was given, and what it made of it."""
Noted = Callable[[ActivationHook, Passed], None]


@contextmanager
def attach_hooks(network: nn.Module, hooks: Sequence[ActivationHook], ops: TorchOps, fired: Noted) -> Generator[None]:
    """Keep hooks on a network for as long as the block runs.

    Args:
        network: The whole network.
        hooks: In the order in which they apply.
        ops: The operations that their formulas run on.
        fired: Called every time that a hook has run, with its input and output.

    Raises:
        Inconclusive: A tap names a module that the network does not have.
    """
    stage = _HookedNetwork(network, ops, fired)
    with ExitStack() as stack:
        for (path, when), group in _by_place(hooks, network).items():
            stack.callback(stage.change(path, when, group))
        for path, taps in _by_module(hooks).items():
            for undo in stage.listen(path, taps):
                stack.callback(undo)
        yield


class _Notes(threading.local):
    """The values that taps have read in this thread's current forward, and the start of its caches."""

    def __init__(self) -> None:
        self.heard: dict[Tap, torch.Tensor] = {}
        self.prompts = Prompts()


@dataclass(frozen=True, slots=True)
class _HookedNetwork:
    """One network with its hooks."""

    network: nn.Module
    ops: TorchOps
    fired: Noted
    notes: _Notes = field(default_factory=_Notes)

    def change(self, path: str, when: str, hooks: Sequence[ActivationHook]) -> Callable[[], None]:
        """Install the hooks of one module; returns the functions that remove them."""
        module = self.network.get_submodule(path)
        names = parameters_of(module)

        def before(_: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
            value = argument(names, args, kwargs, 0)
            if not isinstance(value, torch.Tensor):
                return None
            call = _Call(path, names, args, kwargs)
            return with_first(names, args, kwargs, self._apply(hooks, value, call))

        def after(_: nn.Module, args: Args, kwargs: Kwargs, output: object) -> object:
            value = output_of(output, 0)
            if not isinstance(value, torch.Tensor):
                return None
            return with_output(output, self._apply(hooks, value, _Call(path, names, args, kwargs)))

        if when == "before":
            return module.register_forward_pre_hook(before, with_kwargs=True).remove
        return module.register_forward_hook(after, with_kwargs=True).remove

    def listen(self, path: str, taps: Iterable[Tap]) -> list[Callable[[], None]]:
        """Listen at one module; returns the functions that stop it. The network's calls begin and end notes."""
        try:
            module = self.network.get_submodule(path)
        except AttributeError as error:
            raise Inconclusive(f"the network has no module {path}, which a hook reads") from error
        names, is_top = parameters_of(module), not path
        inputs = [tap for tap in taps if tap.what == "input"]
        outputs = [tap for tap in taps if tap.what == "output"]
        prompts = [tap for tap in taps if tap.what == "prompt"]

        def before(_: nn.Module, args: Args, kwargs: Kwargs) -> None:
            if is_top:
                self.notes.heard.clear()
            get_argument = partial(argument, names, args, kwargs)
            self._note({tap: get_argument(tap.argument) for tap in inputs})
            of, cache = self.notes.prompts.of, cache_of(get_argument)
            self._note({tap: of(get_argument(tap.argument), cache) for tap in prompts})

        def after(_: nn.Module, _args: Args, output: object) -> None:
            if is_top:
                self.notes.prompts.end(cache_of(partial(output_of, output)))
                self.notes.heard.clear()
            self._note({tap: output_of(output, tap.argument) for tap in outputs})

        undo: list[Callable[[], None]] = []
        if inputs or is_top:
            undo.append(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        if outputs or is_top:
            undo.append(module.register_forward_hook(after, always_call=is_top).remove)
        return undo

    def _note(self, found: Mapping[Tap, object]) -> None:
        for tap, value in found.items():
            self.notes.heard.pop(tap, None)
            if isinstance(value, torch.Tensor):
                self.notes.heard[tap] = value

    def _apply(self, hooks: Sequence[ActivationHook], value: torch.Tensor, call: "_Call") -> torch.Tensor:
        result = as_array(value.float())
        for hook in hooks:
            before, result = result, hook.hook.apply(result, self._collect_seen(hook, call), self.ops)
            self.fired(hook, (before, result))
        return as_torch(result).to(value.dtype)

    def _collect_seen(self, hook: ActivationHook, call: "_Call") -> HookInputs:
        arrays: dict[str, Array] = {}
        functions: dict[str, Callable[[Array], Array]] = {}
        for name, tap in hook.taps.items():
            if tap.what == "function":
                functions[name] = _function(self.network.get_submodule(tap.module))
                continue
            value = call.own(tap) if call.is_about(tap) else self.notes.heard.get(tap)
            if isinstance(value, torch.Tensor):
                arrays[name] = as_array(value.float())
        return HookInputs(arrays, functions)


@dataclass(frozen=True, slots=True)
class _Call:
    """The call of the hooked module itself, whose inputs are at hand."""

    path: str
    names: tuple[str, ...]
    args: Args
    kwargs: Kwargs

    def is_about(self, tap: Tap) -> bool:
        """Return whether a tap reads this call's inputs."""
        return tap.what == "input" and tap.module == self.path

    def own(self, tap: Tap) -> object:
        """Return the input."""
        return argument(self.names, self.args, self.kwargs, tap.argument)


def _function(module: nn.Module) -> Callable[[Array], Array]:
    """Wrap a module as a function of float32; it works in its own dtype, as in the network."""
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)

    def call(value: Array) -> Array:
        # Not through its hooks: they belong to its own place in the network.
        return as_array(module.forward(as_torch(value).to(dtype)).float())

    return call


def _by_place(hooks: Iterable[ActivationHook], network: nn.Module) -> dict[tuple[str, str], list[ActivationHook]]:
    """Group hooks that change the same value; a hook without a module never fires."""
    module_names = {name for name, _ in network.named_modules(remove_duplicate=False)}
    by_place: dict[tuple[str, str], list[ActivationHook]] = defaultdict(list)
    for hook in hooks:
        if hook.module in module_names:
            by_place[hook.module, hook.when].append(hook)
    return by_place


def _by_module(hooks: Iterable[ActivationHook]) -> dict[str, set[Tap]]:
    """Group the taps by module; the network itself is included whenever there is any."""
    by_module: dict[str, set[Tap]] = {}
    for hook in hooks:
        for tap in hook.taps.values():
            is_own = tap.what == "input" and tap.module == hook.module
            if tap.what != "function" and not is_own:
                by_module.setdefault("", set())
                by_module.setdefault(tap.module, set()).add(tap)
    return by_module
