"""Task vectors: what fine-tuning added to weights (Ilharco et al. 2023, arXiv 2212.04089).

W' = W + τ, for all of the base's weights or for some. There is no standard layout; here it is
tensors under the base's own names, without a config (docs/format-deltas.md). A head that the base
lacks has no difference, so it cannot be part of one.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.delta.layouts.conventions import (
    build_convention_refusal,
    convention,
    declared_kind,
    match_declared,
    told_convention,
)
from deltareg.delta.layouts.peft.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.delta.layouts.peft.marks import marks
from deltareg.delta.layouts.plain_weights import followers, place_problems, target_of, with_target
from deltareg.delta.maths.updates import ScaledAddition
from deltareg.errors import Problem
from deltareg.identity.manifest import Source
from deltareg.tensors.header import FLOAT_DTYPES, TensorInfo


@dataclass(frozen=True, slots=True)
class TaskVector:
    """Differences to add to weights."""

    name: ClassVar[str] = "task_vector"
    layout: ClassVar[str] = "differences of weights"
    variant: ClassVar[str] = ""
    foldable: ClassVar[bool] = True
    source: ClassVar[Source] = Source()

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents or not files.headers:
            return None
        if declared_kind(files):
            return match_declared(files, cls.name)
        if convention(files) != "additive" or marks(files.names):
            return None
        if all(name.endswith(".bias") for name in files.names):
            return None
        here = with_target(files, base)
        if base.tensors and not here:
            return None
        target = f"{here} weights of the base" if here else "weights of some base"
        return Match(cls.name, f"differences are announced, for {target}", 1)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        if told_convention(files, "the values of a task vector") == "absolute":
            raise build_convention_refusal("a task vector holds differences, and new values are announced")
        return cls()

    def config(self) -> dict[str, object]:
        return {"convention": "additive"}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        return place_problems(files, base, misfit=_misfit, is_new=lambda _name, _base: False)

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(tensors):
            target, reads = target_of(name, base)
            consumes = {name: "difference"}
            effects.append(WeightUpdate(target, ScaledAddition(tensors[name]), consumes, reads))
        return [*effects, *followers(effects, base)]


def _misfit(info: TensorInfo, target: str, base: BaseView) -> list[Problem]:
    weight = target if target in base.tensors else target_of(info.name, base)[1]
    shape = base.tensors[weight].shape
    if info.shape == shape and info.dtype in FLOAT_DTYPES:
        return []
    message = f"{info.dtype} {list(info.shape)} is no difference for {weight} {list(shape)}"
    return [Problem("shape", message, tensor=info.name, fix="check the base")]
