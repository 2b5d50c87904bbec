"""Extracting a LoRA: what a fine-tune changed, module by module, and what no factors are made of.

Memory is one weight: its change in float64, and a matrix of its shorter side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod, sqrt

import numpy as np

from deltareg.delta.extraction.places import BaseModules, WeightPlace, is_of_experts, place_of
from deltareg.delta.extraction.truncation import RankChoice, truncate
from deltareg.delta.kind import BaseView, Effect, Tensors
from deltareg.delta.layouts.peft.modules import is_stored_transposed
from deltareg.delta.layouts.peft.written import LoraModule
from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import LowRankFactors
from deltareg.delta.merge.sides import MergeSides, Parent
from deltareg.errors import InvalidInput

_WHOLE = "push the fine-tune as it is: deltareg push PATH NS/NAME --base BASE"
_UNSAVED = frozenset({"new", "resized", "no layer"})
_MATRIX = 2


@dataclass(frozen=True, slots=True)
class ExtractedModule:
    """A module of the LoRA.

    Attributes:
        target: The base's weight that it changes.
        rank: Its rank.
        norm: ‖ΔW‖ of the fine-tune.
        lost: ‖ΔW - B·A‖.
    """

    target: str
    rank: int
    norm: float
    lost: float

    @property
    def relative_error(self) -> float:
        """The loss as a share of ‖ΔW‖."""
        return self.lost / self.norm


@dataclass(frozen=True, slots=True)
class OtherChange:
    """A weight that the fine-tune changed and that has no factors.

    Attributes:
        target: Its name.
        why: What it is: `vector`, `embedding`, `tied`, `new`, `resized`, `depthwise`, `no layer`.
        norm: ‖ΔW‖.
        relative: ‖ΔW‖ / ‖W‖; None where W is zero or new.
    """

    target: str
    why: str
    norm: float
    relative: float | None


@dataclass(frozen=True, slots=True)
class SavedBeside:
    """What is saved whole beside the factors.

    Attributes:
        modules: `modules_to_save`: names of modules, or their ends.
        weights: Name in the running network -> the base's weight that is saved under it.
        targets: The changed weights that are saved so.
        has_biases: Whether biases of modules with factors are among them.
        keeps_ties: Whether one of them is another module's too, and stays so.
    """

    modules: Sequence[str]
    weights: Mapping[str, str]
    targets: frozenset[str]
    has_biases: bool
    keeps_ties: bool


class Extraction:
    """A fine-tune over its base, to be written as a LoRA.

    Attributes:
        factored: The weights that factors are made of, in a fixed order; some may be unchanged.
        others: Changed weights without factors.
    """

    def __init__(self, effects: Sequence[Effect], base: Tensors, view: BaseView, choice: RankChoice) -> None:
        """Find every weight's place, and read those that no factors are made of.

        Raises:
            InvalidInput: The delta acts on activations, or changes a stack of experts.
        """
        choice.check()
        if view.components:
            raise InvalidInput(
                "the base is a whole pipeline, and a LoRA of peft is for one network",
                fix="name the folder of the component with --base",
            )
        self.parents = [Parent("the fine-tune", "", 1.0, effects)]
        self._sides = MergeSides(self.parents, base)
        self._base, self._view, self._choice = base, view, choice
        places = [self._place(target) for target in self._sides.targets if not view.names.is_buffer(target)]
        self._check_experts([place for place in places if is_of_experts(place, view)])
        self.factored = [place for place in places if not place.why_not]
        self._others = dict(self._measure_others([place for place in places if place.why_not]))
        self.others = list(self._others.values())

    def module(self, place: WeightPlace) -> tuple[ExtractedModule, LoraModule] | None:
        """Extract the factors of one weight; None where it did not change."""
        change = self._change(place.target)
        if not np.any(change):
            return None
        if not np.all(np.isfinite(change)):
            raise InvalidInput(f"{place.target} holds numbers that are not finite", fix="mend the fine-tune")
        factors = truncate(change.reshape(change.shape[0], -1), self._choice)
        found = ExtractedModule(place.target, factors.right.shape[0], factors.norm, factors.lost)
        return found, self._lora_module(place, factors)

    def saved_beside(self, factored: frozenset[str]) -> SavedBeside:
        """Find how what has no factors can be saved whole.

        Args:
            factored: The paths of modules with factors.

        Raises:
            InvalidInput: `modules_to_save` cannot name them.
        """
        modules = BaseModules(self._view)
        biases = {p.target: p for p in self._others if p.module in factored and p.parameter == "bias"}
        whole = [p for p in self._others if p.target not in biases and self._is_savable(p, modules, factored)]
        names, meant = modules.name_saved({place.module for place in whole}, factored)
        weights = [(path, target) for module in meant for target, path in modules.parameters(module).items()]
        twins = self._twins_of(whole)
        return SavedBeside(
            names,
            {
                **dict(weights),
                **twins,
                **{f"{place.module}.base_layer.bias": target for target, place in biases.items()},
            },
            frozenset({*biases, *(place.target for place in whole)}),
            has_biases=bool(biases),
            keeps_ties=bool(twins),
        )

    def _is_savable(self, place: WeightPlace, modules: BaseModules, factored: frozenset[str]) -> bool:
        return place.why_not not in _UNSAVED and modules.is_savable(place.module) and place.module not in factored

    def _twins_of(self, places: Sequence[WeightPlace]) -> dict[str, str]:
        """Return the other names of weights that modules share, which peft saves once more."""
        names, changed = self._view.names, {place.target for place in places}
        twins = {names.memory(twin): stored for twin, stored in names.absent_twins().items()}
        is_untied = {place.path for place in self._others}
        return {twin: stored for twin, stored in twins.items() if twin and stored in changed and twin not in is_untied}

    def _sharers(self, place: WeightPlace) -> tuple[str, ...]:
        """Return the names of all parameters that are one with a weight; empty where it is alone."""
        sharers = sorted(self._view.names.sharers(place.path))
        return tuple(sharers) if len(sharers) > 1 else ()

    def _measure_others(self, places: Sequence[WeightPlace]) -> Iterator[tuple[WeightPlace, OtherChange]]:
        """Measure weights without factors; one that two modules share counts once."""
        seen: set[tuple[tuple[str, ...], float]] = set()
        for place in places:
            change, sharers = self._measure(place), self._sharers(place)
            if change is None or (sharers and (sharers, change.norm) in seen):
                continue
            seen.add((sharers, change.norm))
            yield place, change

    def _place(self, target: str) -> WeightPlace:
        source = self._sides.source(target)
        place = place_of(target, self._sides.shape(target), None if source is None else source.shape, self._view)
        return place if self._sides.is_number(target) else replace(place, why_not="no layer")

    def _check_experts(self, places: Sequence[WeightPlace]) -> None:
        for place in places:
            if self._measure(place) is not None:
                raise InvalidInput(
                    f"{place.target} {list(place.shape)} belongs to a stack of experts, and factors are made of"
                    " layers only",
                    fix=_WHOLE,
                )

    def _measure(self, place: WeightPlace) -> OtherChange | None:
        if not self._sides.is_number(place.target):
            return None
        square = square_base = 0.0
        for rows in self._sides.pieces(place.target):
            square += float(np.sum(rows.changes()[0] ** 2))
            square_base += float(np.sum(rows.base * rows.base))
        if not square:
            return None
        relative = sqrt(square / square_base) if square_base else None
        return OtherChange(place.target, place.why_not, sqrt(square), relative)

    def _change(self, target: str) -> F64:
        change = np.empty(self._sides.shape(target))
        row = 0
        for rows in self._sides.pieces(target):
            change[row : row + len(rows.base)] = rows.changes()[0]
            row += len(rows.base)
        return change

    def _lora_module(self, place: WeightPlace, factors: LowRankFactors) -> LoraModule:
        shape = place.shape
        source = self._sides.source(place.target)
        name = place.target if source is None else source.name
        product = (shape[0], prod(shape[1:]))
        return LoraModule(
            place.module,
            factors.left,
            factors.right,
            1.0,
            kernel=shape[1:] if len(shape) > _MATRIX else (),
            is_flipped=is_stored_transposed(name, shape, product, self._view, told=False),
        )
