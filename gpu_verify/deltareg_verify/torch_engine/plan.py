"""Where the effects of a delta act on a live network: on which parameters, and in which of two ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from deltareg.errors import Inconclusive
from deltareg.kind import Addition, BaseCopy, Effect, Tensor, WeightUpdate
from deltareg.names import NameMap
from deltareg_verify.torch_engine.branch import Branch, branch_for
from deltareg_verify.torch_engine.fold import factors_of, fold
from deltareg_verify.torch_engine.load import Network
from deltareg_verify.torch_engine.ops import TorchOps, as_torch


@dataclass(slots=True)
class Plan:
    """A delta on a network.

    Attributes:
        folded: New values by parameter name, for the folded state.
        attached: New values by parameter name, for what has no branch.
        branches: By module path the functions that add to its output.
        branch_targets: By module path the targets of its branches.
        targets: By name of every changed parameter the effect's target.
        not_exercised: Targets that this class of network has no place for.
    """

    folded: dict[str, torch.Tensor] = field(default_factory=dict)
    attached: dict[str, torch.Tensor] = field(default_factory=dict)
    branches: dict[str, list[Branch]] = field(default_factory=dict)
    branch_targets: dict[str, list[str]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    not_exercised: list[str] = field(default_factory=list)


def make_plan(
    network: Network,
    effects: Sequence[Effect],
    *,
    tensors: Mapping[str, Tensor],
    names: NameMap,
    ops: TorchOps,
) -> Plan:
    """Find a place for every effect and compute the new weights.

    Twins that start from a shared tensor come last: they part from it, whatever happened to it.

    Raises:
        Inconclusive: An effect is of a sort that this engine does not run.
    """
    plan = Plan()
    for effect in sorted(effects, key=_is_twin):
        match effect:
            case WeightUpdate():
                _put_update(plan, effect, _places(network, effect, names), network, tensors, ops)
            case Addition():
                _put_addition(plan, effect, network, names, ops)
            case BaseCopy():
                pass
            case _:
                raise Inconclusive(f"this worker does not run a {type(effect).__name__} yet")
    return plan


def _is_twin(effect: Effect) -> bool:
    return isinstance(effect, WeightUpdate) and effect.source != effect.target


def _places(network: Network, update: WeightUpdate, names: NameMap) -> Sequence[str]:
    if update.target in network.places:
        return network.places[update.target]
    live = dict(network.module.named_parameters(remove_duplicate=False))
    candidates = (names.memory(update.target), update.target)
    return [name for name in dict.fromkeys(candidates) if name in live][:1]


def _put_update(
    plan: Plan,
    update: WeightUpdate,
    places: Sequence[str],
    network: Network,
    tensors: Mapping[str, Tensor],
    ops: TorchOps,
) -> None:
    if not places:
        plan.not_exercised.append(update.target)
        return
    dtype = network.module.get_parameter(places[0]).dtype
    value = fold(update, tensors, ops, dtype)
    for place in places:
        plan.folded[place] = value
        plan.targets[place] = update.target
        if not _put_branch(plan, update, place, network.module, ops):
            plan.attached[place] = value


def _put_branch(
    plan: Plan, update: WeightUpdate, place: str, module: nn.Module, ops: TorchOps
) -> bool:
    path, _, attribute = place.rpartition(".")
    factored = factors_of(update.update)
    if factored is None or attribute != "weight":
        return False
    weight = module.get_parameter(place)
    branch = branch_for(module.get_submodule(path), tuple(weight.shape), factored, ops)
    if branch is None:
        return False
    plan.branches.setdefault(path, []).append(branch)
    plan.branch_targets.setdefault(path, []).append(update.target)
    return True


def _put_addition(
    plan: Plan, addition: Addition, network: Network, names: NameMap, ops: TorchOps
) -> None:
    """Put an added tensor where the class has room that no file of the base fills; else note it."""
    fresh = {name: network.module.get_parameter(name) for name in network.fresh}
    place = next((n for n in (names.memory(addition.target), addition.target) if n in fresh), None)
    if place is None or tuple(fresh[place].shape) != addition.tensor.shape:
        plan.not_exercised.append(addition.target)
        return
    value = as_torch(ops.load(addition.tensor)).to(fresh[place].dtype)
    plan.folded[place] = plan.attached[place] = value
    plan.targets[place] = addition.target
