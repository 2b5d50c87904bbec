"""Where the effects of a delta act on a live network, and in which of two ways."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from deltareg.errors import Inconclusive
from deltareg.kind import Addition, BaseCopy, Effect, Tensor, WeightUpdate
from deltareg.names import NameMap
from deltareg_verify.torch_engine.branch import Branch, branch_for
from deltareg_verify.torch_engine.fold import fold
from deltareg_verify.torch_engine.load import Network
from deltareg_verify.torch_engine.ops import TorchOps, as_torch


@dataclass(slots=True)
class Plan:
    """A delta on a network.

    Attributes:
        folded: New values by parameter name, for the folded state.
        attached: New values by parameter name, for what has no branch.
        branches: By module path the functions from its input and output to its new output.
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

    Raises:
        Inconclusive: An effect is of a sort that this engine does not run.
    """
    plan = Plan()
    updates = [effect for effect in effects if isinstance(effect, WeightUpdate)]
    for update, places in _placed(updates, network, names):
        _put_update(plan, update, places, network.live, tensors, ops)
        for place in places:
            if not _put_branch(plan, update, place, network, ops):
                plan.attached[place] = plan.folded[place]
    for effect in effects:
        match effect:
            case Addition():
                _put_addition(plan, effect, network, names, ops)
            case WeightUpdate() | BaseCopy():
                pass
            case _:
                raise Inconclusive(f"this worker does not run a {type(effect).__name__} yet")
    return plan


def _placed(
    updates: Sequence[WeightUpdate], network: Network, names: NameMap
) -> list[tuple[WeightUpdate, list[str]]]:
    """Give each update its parameters; a tied one goes to the update of its own name, if any."""
    own = {u.target: _own_place(u.target, network, names) for u in updates if u.source != u.target}
    taken = set(own.values())
    placed: list[tuple[WeightUpdate, list[str]]] = []
    for update in updates:
        place = own.get(update.target)
        shared = [name for name in network.places.get(update.target, ()) if name not in taken]
        placed.append((update, [place] if place else shared))
    return placed


def _own_place(target: str, network: Network, names: NameMap) -> str | None:
    candidates = (names.memory(target), target)
    return next((name for name in candidates if name in network.live), None)


def _put_update(
    plan: Plan,
    update: WeightUpdate,
    places: Sequence[str],
    live: Mapping[str, torch.Tensor],
    tensors: Mapping[str, Tensor],
    ops: TorchOps,
) -> None:
    if not places:
        plan.not_exercised.append(update.target)
        return
    value = fold(update, tensors, ops, live[places[0]].dtype)
    for place in places:
        plan.folded[place] = value
        plan.targets[place] = update.target


def _put_branch(
    plan: Plan, update: WeightUpdate, place: str, network: Network, ops: TorchOps
) -> bool:
    path, _, attribute = place.rpartition(".")
    if attribute != "weight":
        return False
    branch = branch_for(network.module.get_submodule(path), update.update, ops)
    if branch is None:
        return False
    plan.branches.setdefault(path, []).append(branch)
    plan.branch_targets.setdefault(path, []).append(update.target)
    return True


def _put_addition(
    plan: Plan, addition: Addition, network: Network, names: NameMap, ops: TorchOps
) -> None:
    """Put an added tensor where the class has room that no file of the base fills; else note it."""
    place = _own_place(addition.target, network, names)
    fresh = network.live[place] if place is not None and place in network.fresh else None
    if place is None or fresh is None or tuple(fresh.shape) != addition.tensor.shape:
        plan.not_exercised.append(addition.target)
        return
    value = as_torch(ops.load(addition.tensor)).to(fresh.dtype)
    plan.folded[place] = plan.attached[place] = value
    plan.targets[place] = addition.target
