"""Merged weights: new values of some of the base's weights, as `deltareg merge` writes them.

The tensors are named as the base's and hold what the weights become, in `merged.safetensors`, whose
metadata says `layout: deltareg-merge/1`. Unlike a part of a fine-tune they say everything: they
have their own dtype, and a weight that is not there stays as it is, tied or not. A merge that
changes every weight is a `full` delta.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Match, Tensors
from deltareg.delta.layouts.plain_weights import is_head, misfits, place_problems, put_in_place
from deltareg.errors import Problem
from deltareg.identity.manifest import Source

LAYOUT = "deltareg-merge/1"
_METADATA = "layout"


@dataclass(frozen=True, slots=True)
class MergedWeights:
    """New values for some weights."""

    name: ClassVar[str] = "full_subset"
    layout: ClassVar[str] = "merged weights"
    variant: ClassVar[str] = ""
    foldable: ClassVar[bool] = True
    holds_results: ClassVar[bool] = True
    source: ClassVar[Source] = Source("deltareg")

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        layouts = {header.metadata.get(_METADATA) for header in files.headers.values()}
        return Match(cls.name, f'metadata {_METADATA} "{LAYOUT}"', 3) if layouts == {LAYOUT} else None

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        return cls()

    def config(self) -> dict[str, object]:
        return {"convention": "absolute"}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        return place_problems(files, base, misfit=misfits, is_new=_is_new)

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        return put_in_place(tensors, base, has_own_dtype=True)


def _is_new(name: str, base: BaseView) -> bool:
    return base.names.is_buffer(name) or is_head(name, base)
