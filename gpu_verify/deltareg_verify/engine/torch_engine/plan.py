"""Where the effects of a delta act on a live network, attached or folded."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import assert_never

import torch

from deltareg.delta.kind import ActivationHook, Addition, BaseCopy, Effect, PrefixInsert, WeightUpdate
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.names import NameMap
from deltareg_verify.engine.torch_engine.branch import as_hook, branch_for, has_branch
from deltareg_verify.engine.torch_engine.direct_weights import is_read_directly
from deltareg_verify.engine.torch_engine.fold import UpdateChain, chains, fold, new_weight
from deltareg_verify.engine.torch_engine.load import LoadedNetwork, ParameterSlot
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_torch


@dataclass(slots=True)
class NetworkPlan:
    """A delta on a network.

    Attributes:
        attached: New values by parameter name, where no hook does the work.
        hooks: Functions between modules, in order; weight updates that have a branch among them.
        inserts: Vectors put before keys and values, or before tokens.
        chains: By parameter name the updates of weights that a hook stands for when attached.
        targets: The effect's target by the name of each changed parameter.
        labels: The name of each hook or insert by identity; a branch goes by its target.
        not_exercised: Targets that this class of network has no place for, heads mostly.
        homeless: Those among them that are weights of the base and no head, so it should have them.
        counters: Targets that hold whole numbers, such as counters or indices, which no output
            needs.
    """

    attached: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    hooks: list[ActivationHook] = field(default_factory=list[ActivationHook])
    inserts: list[PrefixInsert] = field(default_factory=list[PrefixInsert])
    chains: dict[str, UpdateChain] = field(default_factory=dict[str, UpdateChain])
    targets: dict[str, str] = field(default_factory=dict[str, str])
    labels: dict[int, str] = field(default_factory=dict[int, str])
    not_exercised: list[str] = field(default_factory=list[str])
    homeless: list[str] = field(default_factory=list[str])
    counters: set[str] = field(default_factory=set[str])

    def effects(self) -> set[str]:
        """Return the names of all that should take part in a forward."""
        return {*self.targets.values(), *self.labels.values()} - self.counters

    def name(self, effect: ActivationHook | PrefixInsert) -> None:
        """Name a hook or insert by its module; the second one there `#2`."""
        module = effect.module or "the network"
        count = sum(label.partition(" #")[0] == module for label in self.labels.values())
        self.labels[id(effect)] = f"{module} #{count + 1}" if count else module


def make_plan(
    network: LoadedNetwork, effects: Sequence[Effect], *, tensors: Mapping[str, Tensor], names: NameMap, ops: TorchOps
) -> NetworkPlan:
    """Find a place for every effect and compute what the attached state needs."""
    plan = NetworkPlan()
    branches = _place_chains(plan, effects, network, tensors, names, ops)
    for at, effect in enumerate(effects):
        match effect:
            case Addition():
                _put_addition(plan, effect, network, names, ops)
            case ActivationHook():
                plan.name(effect)
                branches.append((at, effect))
            case PrefixInsert():
                plan.name(effect)
                plan.inserts.append(effect)
            case WeightUpdate() | BaseCopy():
                pass
            case _:
                assert_never(effect)
    plan.hooks = [hook for _, hook in sorted(branches, key=lambda pair: pair[0])]
    return plan


def _place_chains(
    plan: NetworkPlan,
    effects: Sequence[Effect],
    network: LoadedNetwork,
    tensors: Mapping[str, Tensor],
    names: NameMap,
    ops: TorchOps,
) -> list[tuple[int, ActivationHook]]:
    """Attach the weight updates; returns the branches with their places among the effects."""
    order = {e.target: at for at, e in enumerate(effects) if isinstance(e, WeightUpdate)}
    branches: list[tuple[int, ActivationHook]] = []
    parts: dict[str, list[tuple[ParameterSlot, UpdateChain]]] = defaultdict(list)
    for chain, places in _assign_places(chains(effects), network, names):
        slot = network.slots.get(chain.target)
        if slot is not None:
            parts[slot.whole].append((slot, chain))
        elif places:
            hooks = _attach(plan, chain, places, network, tensors, ops)
            branches += [(order[chain.target], hook) for hook in hooks]
        else:
            _leave_out(plan, chain.target, names)
    _put_parts(plan, parts, network, tensors, ops)
    return branches


def fold_plan(
    plan: NetworkPlan, network: LoadedNetwork, *, tensors: Mapping[str, Tensor], ops: TorchOps
) -> dict[str, torch.Tensor]:
    """Return the new value of every changed parameter, for the folded state."""
    values = dict(plan.attached)
    by_target: dict[str, torch.Tensor] = {}  # by target: one value serves all of its places
    for place, chain in plan.chains.items():
        if chain.target not in by_target:
            by_target[chain.target] = new_weight(chain, network.live[place], tensors, ops)
        values[place] = by_target[chain.target]
    return values


def _assign_places(
    found: Sequence[UpdateChain], network: LoadedNetwork, names: NameMap
) -> list[tuple[UpdateChain, list[str]]]:
    """Assign parameters to each chain; a tied one goes to the chain of its own name, if any."""
    own = {c.target: _own_place(c.target, network, names) for c in found if c.is_twin}
    own_places = set(own.values())
    assigned: list[tuple[UpdateChain, list[str]]] = []
    for chain in found:
        place = own.get(chain.target)
        shared = [name for name in network.places.get(chain.target, ()) if name not in own_places]
        assigned.append((chain, [place] if place else shared))
    return assigned


def _own_place(target: str, network: LoadedNetwork, names: NameMap) -> str | None:
    candidates = (names.memory(target), target)
    return next((name for name in candidates if name in network.live), None)


def _attach(
    plan: NetworkPlan,
    chain: UpdateChain,
    places: Sequence[str],
    network: LoadedNetwork,
    tensors: Mapping[str, Tensor],
    ops: TorchOps,
) -> list[ActivationHook]:
    """Attach the last update as a branch where possible; earlier ones are folded."""
    first = network.live[places[0]]
    if not first.dtype.is_floating_point:  # such as how many batches a BatchNorm has seen
        plan.counters.add(chain.target)
    before = replace(chain, updates=chain.updates[:-1])
    is_plain = (not before.updates and chain.shape is None) or not has_branch(chain.updates[-1])
    beneath = None if is_plain else new_weight(before, first, tensors, ops)
    value: torch.Tensor | None = None
    hooks: list[ActivationHook] = []
    for place in places:
        plan.targets[place] = chain.target
        path, _, attribute = place.rpartition(".")
        branch = None
        if attribute == "weight" and has_branch(chain.updates[-1]) and not is_read_directly(network.module, path):
            module = network.module.get_submodule(path)
            weight = network.live[place] if beneath is None else beneath
            branch = branch_for(module, chain.updates[-1], weight, ops)
        if branch is None:
            value = new_weight(chain, first, tensors, ops) if value is None else value
            plan.attached[place] = value
            continue
        plan.chains[place] = chain
        hooks.append(as_hook(path, branch))
        plan.labels[id(hooks[-1])] = chain.target
        if beneath is not None:
            plan.attached[place] = beneath
    return hooks


def _put_parts(
    plan: NetworkPlan,
    parts: Mapping[str, Sequence[tuple[ParameterSlot, UpdateChain]]],
    network: LoadedNetwork,
    tensors: Mapping[str, Tensor],
    ops: TorchOps,
) -> None:
    """Compute the parameters that hold several stored tensors, each with all its parts."""
    for whole, changes in parts.items():
        own = network.live[whole]
        make = partial(_with_parts, own, changes, tensors, ops)
        later = ops.placing
        plan.attached[whole] = make() if later is None else later.make(make, own.shape, own.dtype)
        plan.targets[whole] = whole


def _with_parts(
    own: torch.Tensor,
    changes: Sequence[tuple[ParameterSlot, UpdateChain]],
    tensors: Mapping[str, Tensor],
    ops: TorchOps,
) -> torch.Tensor:
    value = own.detach().clone()
    for slot, chain in changes:
        slot.of(value).copy_(fold(chain, tensors, ops, value.dtype))
    return value


def _leave_out(plan: NetworkPlan, target: str, names: NameMap) -> None:
    plan.not_exercised.append(target)
    if not names.is_head(names.canonical(target)) and not names.is_buffer(target):
        plan.homeless.append(target)


def _put_addition(plan: NetworkPlan, addition: Addition, network: LoadedNetwork, names: NameMap, ops: TorchOps) -> None:
    """Put an added tensor where the class has a place that no base file fills; else record it."""
    place = _own_place(addition.target, network, names)
    fresh = network.live[place] if place is not None and place in network.fresh else None
    if place is None or fresh is None or tuple(fresh.shape) != addition.tensor.shape:
        plan.not_exercised.append(addition.target)
        return
    plan.attached[place] = as_torch(ops.load(addition.tensor)).to(fresh.dtype)
    plan.targets[place] = addition.target
