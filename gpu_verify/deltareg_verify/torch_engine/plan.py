"""Where the effects of a delta act on a live network, and in which of two ways."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from deltareg.errors import Inconclusive
from deltareg.formula import Tensor
from deltareg.kind import Addition, BaseCopy, Effect, WeightUpdate
from deltareg.names import NameMap
from deltareg_verify.torch_engine.branch import Branch, branch_for, has_branch
from deltareg_verify.torch_engine.fold import Chain, chains, fold
from deltareg_verify.torch_engine.load import Network
from deltareg_verify.torch_engine.ops import TorchOps, as_torch


@dataclass(slots=True)
class Plan:
    """A delta on a network.

    Attributes:
        folded: New values by parameter name, for the folded state.
        attached: New values by parameter name, for what has no branch.
        branches: By module path the function from its input and output to its new output.
        branch_targets: By module path the target of its branch.
        targets: By name of every changed parameter the effect's target.
        not_exercised: Targets that this class of network has no place for.
    """

    folded: dict[str, torch.Tensor] = field(default_factory=dict)
    attached: dict[str, torch.Tensor] = field(default_factory=dict)
    branches: dict[str, Branch] = field(default_factory=dict)
    branch_targets: dict[str, str] = field(default_factory=dict)
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
    for chain, places in _placed(chains(effects), network, names):
        if not places:
            plan.not_exercised.append(chain.target)
            continue
        value = fold(chain, tensors, ops, network.live[places[0]].dtype)
        for place in places:
            plan.folded[place] = value
            plan.targets[place] = chain.target
            _attach(plan, chain, place, network, tensors, ops)
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
    found: Sequence[Chain], network: Network, names: NameMap
) -> list[tuple[Chain, list[str]]]:
    """Give each chain its parameters; a tied one goes to the chain of its own name, if any."""
    own = {c.target: _own_place(c.target, network, names) for c in found if c.is_twin}
    taken = set(own.values())
    placed: list[tuple[Chain, list[str]]] = []
    for chain in found:
        place = own.get(chain.target)
        shared = [name for name in network.places.get(chain.target, ()) if name not in taken]
        placed.append((chain, [place] if place else shared))
    return placed


def _own_place(target: str, network: Network, names: NameMap) -> str | None:
    candidates = (names.memory(target), target)
    return next((name for name in candidates if name in network.live), None)


def _attach(
    plan: Plan,
    chain: Chain,
    place: str,
    network: Network,
    tensors: Mapping[str, Tensor],
    ops: TorchOps,
) -> None:
    """Attach the last update as a branch where that can be; what comes before it is folded."""
    path, _, attribute = place.rpartition(".")
    before = replace(chain, updates=chain.updates[:-1])
    is_plain = not before.updates and chain.shape is None
    branch = None
    weight = network.live[place]
    if attribute == "weight" and has_branch(chain.updates[-1]):
        weight = weight if is_plain else fold(before, tensors, ops, weight.dtype)
        branch = branch_for(network.module.get_submodule(path), chain.updates[-1], weight, ops)
    if branch is None:
        plan.attached[place] = plan.folded[place]
        return
    plan.branches[path] = branch
    plan.branch_targets[path] = chain.target
    if not is_plain:
        plan.attached[place] = weight


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
