"""Which effects of a delta take part in a forward, and why others do not.

Some cannot. An encoder-decoder may keep its words under three names, such as `shared` beside
`encoder.embed_tokens`, and look them up by two. A delta on the
third acts on nothing, in the library as here, whatever goes in.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial

import torch
from torch import nn

from deltareg_verify.engine.engine import OTHER_SEED, FiredEffects
from deltareg_verify.engine.torch_engine.forward import forward, watched_forward
from deltareg_verify.engine.torch_engine.load import LoadedNetwork
from deltareg_verify.engine.torch_engine.networks.calling import Result
from deltareg_verify.engine.torch_engine.ops import TorchOps
from deltareg_verify.engine.torch_engine.other_calls import other_calls
from deltareg_verify.engine.torch_engine.plan import NetworkPlan
from deltareg_verify.engine.torch_engine.probe import undrawn_kinds


def watch_effects(
    network: LoadedNetwork, plan: NetworkPlan, ops: TorchOps, inputs: Mapping[str, torch.Tensor]
) -> tuple[FiredEffects, Result]:
    """Run the network once with a delta on it.

    Args:
        network: The base.
        plan: The delta on it.
        ops: The operations that its formulas run on.
        inputs: By parameter of the network's forward.

    Returns:
        What took part, without outputs, and the answer of the network.
    """
    watched = watched_forward(network.module, plan, ops, inputs, seed=OTHER_SEED)
    planned = plan.effects()
    silent = tuple(sorted(planned.difference(watched.seen)))
    fired = FiredEffects(
        len(planned),
        silent,
        tuple(plan.not_exercised),
        tuple(plan.homeless),
        watched.moved,
        shadowed=tuple(_find_shadowed(network, plan, silent, inputs)),
        undrawn=tuple(undrawn_kinds(network.module, inputs)),
    )
    return fired, watched.result


def find_optional_effects(
    module: nn.Module, plan: NetworkPlan, ops: TorchOps, probe: Mapping[str, torch.Tensor]
) -> Collection[str]:
    """Return the targets without which some call of the network does: by a flag, or with fewer inputs.

    Args:
        module: The network.
        plan: The delta on it.
        ops: The operations that its formulas run on.
        probe: By parameter of its forward.
    """
    seen: list[Collection[str]] = []
    for inputs in other_calls(module, probe):
        with suppress(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            seen.append(watched_forward(module, plan, ops, inputs).seen)
    return {name for one in seen for name in plan.effects().difference(one)}


def _find_shadowed(
    network: LoadedNetwork, plan: NetworkPlan, silent: Iterable[str], inputs: Mapping[str, torch.Tensor]
) -> list[str]:
    """Return the targets whose modules are never called, though all others that hold the same tensor are."""
    sites = {target: {place for place, owner in plan.targets.items() if owner == target} for target in silent}
    twins = {target: _twins(network, own) for target, own in sites.items()}
    shared = {target: others for target, others in twins.items() if others}
    if not shared:
        return []
    places = {place for target, others in shared.items() for place in {*others, *sites[target]}}
    called = _find_called(network.module, {_module(place) for place in places}, inputs)
    return sorted(
        target
        for target, others in shared.items()
        if all(_module(place) in called for place in others)
        and not any(_module(place) in called for place in sites[target])
    )


def _twins(network: LoadedNetwork, own: Collection[str]) -> set[str]:
    """Return the other names of a tensor in memory."""
    groups = (names for names in network.places.values() if {*own} & {*names})
    return {name for names in groups for name in names} - {*own}


def _module(place: str) -> str:
    return place.rpartition(".")[0]


def _note_call(called: set[str], path: str, *_: object) -> None:
    called.add(path)


def _find_called(module: nn.Module, paths: Iterable[str], inputs: Mapping[str, torch.Tensor]) -> set[str]:
    called: set[str] = set()
    with ExitStack() as stack:
        for path in paths:
            hook = module.get_submodule(path).register_forward_pre_hook(partial(_note_call, called, path))
            stack.callback(hook.remove)
        forward(module, inputs)
    return called
