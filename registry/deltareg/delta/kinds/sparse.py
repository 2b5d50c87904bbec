"""Sparse deltas: single elements of weights, new or with something added.

There is no standard layout. Here a weight `N` of the base has `N.indices`, which elements, and
`N.values`; or it comes whole under its own name, with zeros where nothing is added
(docs/format-deltas.md).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.delta.layouts.conventions import declared_kind, match_declared, told_convention
from deltareg.delta.layouts.peft.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.delta.layouts.plain_weights import followers, report_unapplied, taken_twice, target_of
from deltareg.delta.maths.formula import Tensor, Update
from deltareg.delta.maths.updates import Replacement, ScaledAddition
from deltareg.delta.shapes import header_tensors
from deltareg.delta.updates_sparse import SparseElements
from deltareg.errors import Problem
from deltareg.identity.manifest import Source
from deltareg.tensors.header import FLOAT_DTYPES
from deltareg.words import Convention

INDICES, VALUES = ".indices", ".values"
_WHOLE_NUMBERS = frozenset({"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"})


@dataclass(frozen=True, slots=True)
class Sparse:
    """New or added values for some elements of some weights.

    Attributes:
        convention: Whether values are new or added.
    """

    name: ClassVar[str] = "sparse"
    layout: ClassVar[str] = "indices and values"
    variant: ClassVar[str] = ""
    foldable: ClassVar[bool] = True
    source: ClassVar[Source] = Source()
    convention: Convention

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents or not files.headers:
            return None
        if declared_kind(files):
            return match_declared(files, cls.name)
        if any(name.endswith((INDICES, VALUES)) for name in files.names):
            return Match(cls.name, f"tensor names …{INDICES}, …{VALUES}", 2)
        return None

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        return cls(told_convention(files, "values"))

    def config(self) -> dict[str, object]:
        return {"convention": self.convention}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        problems: list[Problem] = []
        claimed: dict[str, str] = {}
        lost: list[str] = []
        for part in _parts(header_tensors(files)):
            target, reads = target_of(part.weight, base)
            if part.missing:
                message = f"its {part.missing} are missing"
                problems.append(Problem("missing_tensors", message, tensor=part.name))
            elif not target:
                lost.append(part.name)
            elif target in claimed:
                problems.append(taken_twice(part.name, claimed[target], target))
            else:
                claimed[target] = part.name
                problems += part.misfit(base.tensors[reads or target].shape)
        return [*problems, *report_unapplied(lost, is_some_applied=bool(claimed))]

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects: list[Effect] = []
        for part in _parts(tensors):
            target, reads = target_of(part.weight, base)
            shape = base.tensors[reads or target].shape
            update = part.update(shape, is_absolute=self.convention == "absolute")
            effects.append(WeightUpdate(target, update, part.roles, reads))
        return [*effects, *followers(effects, base)]


@dataclass(frozen=True, slots=True)
class _Part:
    """The tensors of one weight.

    Attributes:
        weight: Its name, as the delta spells it.
        tensors: By role.
    """

    weight: str
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """The name of one of the tensors, for messages."""
        return next(iter(self.tensors.values())).name

    @property
    def missing(self) -> str:
        """The role whose tensor is missing; empty if none is."""
        lone = len(self.tensors) == 1 and "whole" not in self.tensors
        return ("values" if "indices" in self.tensors else "indices") if lone else ""

    @property
    def roles(self) -> dict[str, str]:
        """Tensor name -> role."""
        return {tensor.name: role for role, tensor in self.tensors.items()}

    def update(self, shape: tuple[int, ...], *, is_absolute: bool) -> Update:
        """Return the formula for a weight of this shape."""
        whole = self.tensors.get("whole")
        if whole is not None:
            return Replacement(whole) if is_absolute else ScaledAddition(whole)
        return SparseElements(self.tensors["indices"], self.tensors["values"], is_absolute, shape)

    def misfit(self, shape: tuple[int, ...]) -> list[Problem]:
        """Return the problems of the tensors for a weight of this shape, by headers."""
        whole = self.tensors.get("whole")
        if whole is not None:
            fits = whole.shape == shape and whole.dtype in FLOAT_DTYPES
            return [] if fits else [_shape(whole, f"no real numbers for {list(shape)}")]
        indices, values = self.tensors["indices"], self.tensors["values"]
        count_shape = values.shape
        if values.dtype not in FLOAT_DTYPES or len(count_shape) != 1:
            return [_shape(values, "values are one row of real numbers")]
        if indices.dtype not in _WHOLE_NUMBERS:
            return [_shape(indices, "indices are whole numbers")]
        if indices.shape not in {count_shape, (len(shape), *count_shape)}:
            message = f"indices are {list(count_shape)} or {[len(shape), *count_shape]} for {list(shape)}"
            return [_shape(indices, message)]
        return []


def _parts(tensors: Tensors) -> Iterator[_Part]:
    """Group tensors by the weight that they belong to, in the order of names."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for name in sorted(tensors):
        if name.endswith((INDICES, VALUES)):
            weight, _, role = name.rpartition(".")
            pairs.setdefault(weight, {})[role] = tensors[name]
        else:
            yield _Part(name, {"whole": tensors[name]})
    yield from (_Part(weight, parts) for weight, parts in pairs.items())


def _shape(tensor: Tensor, why: str) -> Problem:
    message = f"{tensor.dtype} {list(tensor.shape)}: {why}"
    return Problem("shape", message, tensor=tensor.name, fix="see docs/format-deltas.md")
