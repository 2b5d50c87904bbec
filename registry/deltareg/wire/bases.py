"""Bases on the wire."""

from typing import Literal

from deltareg.wire.messages import Answer


class BaseRelation(Answer):
    """A recorded fact about two bases."""

    relation: Literal["same_parameters", "cast_of", "resaved_as", "finetuned_from"]
    root: str
    name: str | None = None


class BaseName(Answer):
    """The base of a version."""

    name: str
    root: str


class BaseInfo(Answer):
    """A base as registered.

    For one that is a version folded into its base: `version` names it, `depth` counts the versions
    that are folded, `bottom` is the base at the foot, and `recipe` says by what values were
    computed (empty when all are stored values).
    """

    name: str
    root: str
    manifest_digest: str
    model_type: str
    is_stored: bool
    location: str | None
    tensors: int
    logical_bytes: int
    stored_bytes: int
    uploaded_bytes: int = 0
    created: bool = False
    created_at: str
    created_by: str
    deltas: int = 0
    relations: list[BaseRelation] = []
    version: str | None = None
    depth: int = 0
    bottom: BaseName | None = None
    recipe: str = ""
