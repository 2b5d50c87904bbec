"""Merged weights: new values of some of the base's weights, as `deltareg merge` writes them.

The tensors are named as the base's and hold what the weights become, in `merged.safetensors`, whose
metadata says `layout: deltareg-merge/1`. A merge that changes every weight is a `full` delta.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.conventions import vocabulary
from deltareg.errors import Problem
from deltareg.kind import Addition, BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.manifest import Source
from deltareg.tensors import FLOAT_DTYPES, TensorInfo
from deltareg.updates import Replace

LAYOUT = "deltareg-merge/1"
_METADATA = "layout"


@dataclass(frozen=True, slots=True)
class MergedWeights:
    """Some weights anew."""

    name: ClassVar[str] = "full_subset"
    layout: ClassVar[str] = "merged weights"

    @property
    def variant(self) -> str:
        return ""

    @property
    def foldable(self) -> bool:
        return True

    @property
    def source(self) -> Source:
        return Source("deltareg")

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        told = [header.metadata.get(_METADATA) for header in files.headers.values()]
        if not told or set(told) != {LAYOUT}:
            return None
        return Match(cls.name, f'metadata {_METADATA} "{LAYOUT}"', 3)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        return cls()

    def config(self) -> dict[str, object]:
        return {"convention": "absolute"}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        tensors = {n: i for header in files.headers.values() for n, i in header.tensors.items()}
        problems: list[Problem] = []
        given: dict[str, str] = {}
        for name, info in sorted(tensors.items()):
            target, reads = _target(name, base)
            if target in given:
                told = f"it and {given[target]} are both {target} of the base"
                problems.append(Problem("unexpected_tensors", told, tensor=name))
            elif target:
                given[target] = name
                problems += _misfit(info, reads or target, base)
            elif not (base.names.is_buffer(name) or base.names.is_head(name)):
                told = "the base has no such tensor, and it is part of no head"
                problems.append(Problem(_code(tensors, base), told, tensor=name))
        return problems

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(tensors):
            tensor = tensors[name]
            target, reads = _target(name, base)
            if not target:
                effects.append(Addition(name, tensor, {name: "head"}))
                continue
            shape = tensor.shape if tensor.shape != base.tensors[reads or target].shape else None
            consumes = {name: "weight"}
            effects.append(
                WeightUpdate(target, Replace(tensor), consumes, reads, shape, tensor.dtype)
            )
        return effects


def _target(name: str, base: BaseView) -> tuple[str, str]:
    """Give the weight that a tensor replaces, and the base's that it shares if it has none."""
    own = base.names.tensor(name)
    if own is not None:
        return own, ""
    twin = base.names.stored_twin(name)
    return (base.names.spelled_like(name, twin), twin) if twin is not None else ("", "")


def _code(tensors: Mapping[str, TensorInfo], base: BaseView) -> str:
    found = any(_target(name, base)[0] for name in tensors)
    return "partial_application" if found else "no_tensor_applied"


def _misfit(info: TensorInfo, target: str, base: BaseView) -> list[Problem]:
    record = base.tensors[target]
    is_number = {info.dtype, record.dtype} <= FLOAT_DTYPES
    is_head = base.names.is_head(base.names.canonical(target))
    grows = (
        len(info.shape) > 1 and info.shape[1:] == record.shape[1:]
        and info.shape[0] > record.shape[0] == vocabulary(base.config)
    )  # fmt: skip
    fits = info.shape == record.shape or grows
    fits = fits or (is_head and len(info.shape) == len(record.shape))
    if fits and (is_number or info.dtype == record.dtype):
        return []
    told = f"{info.dtype} {list(info.shape)} does not fit {target} {record.dtype}"
    return [
        Problem("shape", f"{told} {list(record.shape)}", tensor=info.name, fix="check the base")
    ]
