"""Merging into a LoRA: which modules get factors, and what is lost.

Only weights that a LoRA can change are merged this way; anything else is refused by name, because
leaving a part out would be a change that nobody asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from deltareg.delta.kind import BaseView, Tensors, WeightUpdate
from deltareg.delta.layouts.peft.modules import is_stored_transposed
from deltareg.delta.layouts.peft.written import LoraModule
from deltareg.delta.maths.low_rank import F64, LowRankChange, low_rank_change
from deltareg.delta.maths.updates import Factor, IdentityUpdate, LowRank
from deltareg.delta.merge.method import FactorMethod, LowRankFactors, MergeSettings, ParentChange
from deltareg.delta.merge.sides import MergeSides, Parent, ParentSide, base_rows
from deltareg.errors import InvalidInput

_PREFIX = "base_model.model."
_EMBEDDINGS = frozenset({"wte", "wpe", "shared"})


@dataclass(frozen=True, slots=True)
class MergedModule:
    """One merged module.

    Attributes:
        target: The base weight that changes.
        module: Its factors.
        norm: ‖ΔW‖ of the exact merge.
        lost: ‖ΔW - what the factors make‖.
    """

    target: str
    module: LoraModule
    norm: float
    lost: float

    @property
    def relative_error(self) -> float:
        """The loss as a share of ‖ΔW‖."""
        return self.lost / self.norm if self.norm else 0.0


class FactorMerging:
    """Several deltas over one base, merged into a LoRA.

    Attributes:
        targets: Every weight that changes, in a fixed order.
        keeps_ties: Whether a weight that two modules share changes for both.
    """

    def __init__(
        self, parents: Sequence[Parent], base: Tensors, view: BaseView, *, method: FactorMethod, settings: MergeSettings
    ) -> None:
        """Take the parents and check that a LoRA can represent their changes; no weight is read.

        Raises:
            InvalidInput: A parent makes a change that a LoRA cannot represent, or not exactly.
        """
        self._sides = MergeSides(parents, base)
        self._base, self._view = base, view
        self._method, self._settings = method, settings
        self.targets = [target for target in self._sides.targets if self._is_changed(target)]
        for side in self._sides:
            for target in side.targets:
                self._check(side, target)
        self.keeps_ties = self._ties()

    def module(self, target: str) -> MergedModule:
        """Merge one weight."""
        sides = [side for side in self._sides if target in side.targets]
        parts = [self._part(side, target) for side in sides]
        factors = self._method.merge(parts, self._settings)
        update = sides[0].folding.updates(target)[0]
        lora = self._build_lora_module(target, update, factors)
        return MergedModule(target, lora, factors.norm, factors.lost)

    def _is_changed(self, target: str) -> bool:
        sides = [side for side in self._sides if target in side.folding.changed]
        updates = [e.update for side in sides for e in side.folding.updates(target)]
        return not updates or not all(isinstance(update, IdentityUpdate) for update in updates)

    def _check(self, side: ParentSide, target: str) -> None:
        name, method = side.parent.name, self._method.name
        fix = "use another method: linear merges any change of weights"
        if target in side.folding.additions:
            raise InvalidInput(f"{name} brings a new tensor, {target}, and a LoRA cannot", fix=fix)
        updates = side.folding.updates(target)
        if all(isinstance(effect.update, IdentityUpdate) for effect in updates):
            return
        shape = side.folding.source(target).shape
        is_of_a_layer = len(shape) > 1 and target.endswith(".weight")
        if not is_of_a_layer or side.folding.shape(target) != shape:
            raise InvalidInput(f"{name} changes {target} {list(shape)} in a way that no LoRA can", fix=fix)
        if self._method.needs_factors and _product(updates) is None:
            raise InvalidInput(
                f"{method} is exact, and what {name} does to {target} is no product of factors"
                f" ({_describe_updates(updates)})",
                fix="use svd with a rank, or linear",
            )

    def _ties(self) -> bool:
        """Whether tied weights stay tied, which all parents must agree on.

        Raises:
            InvalidInput: They do not agree.
        """
        answers: set[bool] = set()
        for twin, stored in self._view.names.absent_twins().items():
            answers |= {twin not in s.targets for s in self._sides if stored in s.targets}
        if len(answers) > 1:
            raise InvalidInput(
                "one version changes a tied weight for both of its modules, another for one", fix="use linear"
            )
        return answers == {True}

    def _part(self, side: ParentSide, target: str) -> ParentChange:
        product = _product(side.folding.updates(target))
        return ParentChange(side.parent.weight, product, lambda: self._dense(side, target))

    def _dense(self, side: ParentSide, target: str) -> F64:
        shape = side.folding.shape(target)
        base = base_rows(side.folding.source(target), shape, 0, shape[0])
        change = np.concatenate([rows[...] for rows in side.values(target)]) - base
        return change.reshape(shape[0], -1)

    def _build_lora_module(self, target: str, effect: WeightUpdate, factors: LowRankFactors) -> LoraModule:
        shape = self._base[effect.source].shape
        module = _module_of(effect) or self._in_memory(target)
        is_embedding = _is_embedding(effect, module)
        product = (shape[0], prod(shape[1:]))
        is_flipped = _told_flipped(effect)
        if is_flipped is None:
            is_flipped = is_embedding or is_stored_transposed(effect.source, shape, product, self._view, told=False)
        return LoraModule(
            module,
            factors.left,
            factors.right,
            factors.scale,
            kernel=shape[1:] if len(shape) > 2 else (),
            is_flipped=is_flipped,
            is_embedding=is_embedding,
        )

    def _in_memory(self, target: str) -> str:
        return (self._view.names.memory(target) or target).removesuffix(".weight")


def error_of(modules: Sequence[MergedModule]) -> float:
    """Return the loss over all modules, as a share of the whole change."""
    norm = float(np.linalg.norm([m.norm for m in modules])) if modules else 0.0
    lost = float(np.linalg.norm([m.lost for m in modules])) if modules else 0.0
    return lost / norm if norm else 0.0


def _product(updates: Sequence[WeightUpdate]) -> LowRankChange | None:
    return low_rank_change([effect.update for effect in updates])


def _module_of(effect: WeightUpdate) -> str:
    """Return the module's name as the parent spells it; empty for another layout."""
    for name, role in effect.consumes.items():
        if role in {"lora_A", "lora_embedding_A"} and name.startswith(_PREFIX):
            return name.removeprefix(_PREFIX).partition(f".{role}")[0]
    return ""


def _told_flipped(effect: WeightUpdate) -> bool | None:
    """Return whether a parent's factors belong to a transposed weight; None if it has no factors."""
    update = effect.update
    left: object = update.left if isinstance(update, LowRank) else None
    return left.flipped if isinstance(left, Factor) else None


def _is_embedding(effect: WeightUpdate, module: str) -> bool:
    roles = set(effect.consumes.values())
    if any(role.startswith("lora_") for role in roles):
        return "lora_embedding_A" in roles
    last = module.rpartition(".")[2]
    return last in _EMBEDDINGS or last.endswith(("embed_tokens", "_embeddings"))


def _describe_updates(updates: Sequence[WeightUpdate]) -> str:
    if len(updates) > 1:
        return f"{len(updates)} steps, one after the other"
    roles = sorted({role for effect in updates for role in effect.consumes.values()})
    return ", ".join(roles[:4]) or type(updates[0].update).__name__
