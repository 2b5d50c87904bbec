"""A part of a fine-tune: some of the base's weights with new values, the others as they were.

There is no standard layout. Here it is tensors under the base's own names, without a config; layers
that were frozen in training are left out (docs/format-deltas.md).
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Match, Tensors
from deltareg.delta.layouts.conventions import (
    build_convention_refusal,
    convention,
    declared_kind,
    match_declared,
    told_convention,
)
from deltareg.delta.layouts.peft.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.delta.layouts.plain_weights import (
    followers,
    is_head,
    is_most_of,
    misfits,
    place_problems,
    put_in_place,
    with_target,
)
from deltareg.errors import Problem
from deltareg.identity.manifest import Source


@dataclass(frozen=True, slots=True)
class FullSubset:
    """New values for some weights; each keeps the dtype of the base's."""

    name: ClassVar[str] = "full_subset"
    layout: ClassVar[str] = "some weights"
    variant: ClassVar[str] = ""
    foldable: ClassVar[bool] = True
    holds_results: ClassVar[bool] = True
    source: ClassVar[Source] = Source()

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents or not files.headers:
            return None
        if declared_kind(files):
            return match_declared(files, cls.name)
        here = with_target(files, base)
        if not here or convention(files) == "additive" or is_most_of(files, base):
            return None
        return Match(cls.name, f"{here} of its {len(files.names)} tensors are the base's, by name", 1)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        if told_convention(files, "the values of a part of the weights") == "additive":
            raise build_convention_refusal("a part of the weights holds new values, and differences are announced")
        return cls()

    def config(self) -> dict[str, object]:
        return {"convention": "absolute"}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        return place_problems(files, base, misfit=misfits, is_new=is_head)

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects = put_in_place(tensors, base, has_own_dtype=False)
        return [*effects, *followers(effects, base)]
