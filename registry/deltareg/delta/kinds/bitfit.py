"""BitFit: only biases change (Ben Zaken et al. 2021, arXiv 2106.10199).

There is no standard layout. Here it is tensors named as the base's biases, without a config, whose
values are either the new biases or what is added to the old ones.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.delta.kind import Addition, BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.delta.layouts.conventions import match_declared, told_convention
from deltareg.delta.layouts.peft.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.delta.maths.updates import Replacement, ScaledAddition
from deltareg.errors import Problem
from deltareg.identity.manifest import Source
from deltareg.tensors.header import FLOAT_DTYPES
from deltareg.words import Convention


@dataclass(frozen=True, slots=True)
class BitFit:
    """A BitFit delta.

    Attributes:
        convention: Whether the tensors are the new biases or the differences.
    """

    name: ClassVar[str] = "bitfit"
    foldable: ClassVar[bool] = True
    layout: ClassVar[str] = "biases"
    variant: ClassVar[str] = ""
    source: ClassVar[Source] = Source()
    convention: Convention

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents or not files.headers:
            return None
        if (match := match_declared(files, cls.name)) is not None:
            return match
        if all(name.endswith(".bias") for name in files.names):
            return Match(cls.name, "every tensor is a bias", 2)
        return None

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        return cls(told_convention(files, "biases"))

    def config(self) -> dict[str, object]:
        return {"convention": self.convention}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        problems: list[Problem] = []
        claimed: dict[str, str] = {}
        lost: list[str] = []
        for name, info in sorted((n, i) for h in files.headers.values() for n, i in h.tensors.items()):
            target = base.names.tensor(name)
            if not name.endswith(".bias") or base.names.is_buffer(name):
                message = "it is no bias, and only biases change in BitFit"
                problems.append(Problem("unexpected_tensors", message, tensor=name))
            elif target is None:
                lost += [] if base.names.is_head(name) else [name]
            elif target in claimed:
                message = f"it and {claimed[target]} are both {target} of the base"
                problems.append(Problem("unexpected_tensors", message, tensor=name))
            elif info.shape != base.tensors[target].shape or info.dtype not in FLOAT_DTYPES:
                shape = list(base.tensors[target].shape)
                message = f"{info.dtype} {list(info.shape)} does not fit {target} {shape}"
                problems.append(Problem("shape", message, tensor=name))
            if target is not None:
                claimed.setdefault(target, name)
        return [*problems, *_report_unapplied(lost, claimed)]

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(tensors):
            tensor, target = tensors[name], base.names.tensor(name)
            if target is None:  # a new head's biases start from zero, so both conventions agree
                effects.append(Addition(name, tensor, {name: "bias"}))
            elif self.convention == "absolute":
                effects.append(WeightUpdate(target, Replacement(tensor), {name: "bias"}))
            else:
                effects.append(WeightUpdate(target, ScaledAddition(tensor), {name: "bias_delta"}))
        return effects


def _report_unapplied(lost: list[str], given: dict[str, str]) -> list[Problem]:
    if not lost:
        return []
    message = f"the base has no such bias, nor {len(lost) - 1} others of the delta"
    code = "partial_application" if given else "no_tensor_applied"
    return [Problem(code, message, tensor=lost[0], fix="check the base and the names")]
