"""Rules for the names of a model type: one JSON file per type, read once."""

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import NotRequired, TypedDict

from deltareg.delta.architectures import facts

_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class NameRules:
    """The rules by which names of one model type correspond.

    Attributes:
        model_type: The type, or `default` for one that has no file of its own.
        prefix: The attribute that holds the plain network inside a class with a head; may be empty.
        strip: Leading components that a name may or may not carry.
        renames: Old run of components -> new run, applied in order; the new one is in memory. See
            `deltareg.delta.names.runs`.
        buffers: Endings of names that some files carry and that are not parameters.
        tied: (twin, stored): names that share one tensor, of which files keep the second.
        transposed: Endings of modules whose weight is stored (in, out).
        heads: First components of modules that a class adds to the plain network.
        fused: (parameter in memory, modules of one expert in files): `experts.N.<module>.weight`
            for all N are one parameter; of several modules the rows follow each other.
        joined: (module in memory, modules in files): the rows of their weights follow each other in its one.
        unprefixed: Classes that hold the plain network's modules themselves.
    """

    model_type: str
    prefix: str
    strip: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]
    buffers: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]
    transposed: tuple[str, ...]
    heads: frozenset[str]
    fused: tuple[tuple[str, tuple[str, ...]], ...] = ()
    joined: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unprefixed: frozenset[str] = frozenset()

    @property
    def is_known(self) -> bool:
        """Whether the type has a file of its own."""
        return self.model_type != _DEFAULT


def rules_for(model_type: str, architecture: str = "") -> NameRules:
    """Return the rules of a model type.

    A type without a file of its own gets the default and the library's renames for the class.
    """
    documents = _documents()
    if model_type in documents:
        return _rules(model_type, documents[model_type])
    held_in = facts().prefixes.get(model_type, "")
    rules = _rules(_DEFAULT, documents[_DEFAULT], also_strip=(model_type, held_in))
    return replace(rules, renames=(*rules.renames, *facts().renames.get(architecture, ())))


class _Document(TypedDict):
    prefix: str
    strip: list[str]
    renames: list[tuple[str, str]]
    buffers: list[str]
    tied: list[tuple[str, str]]
    transposed: list[str]
    heads: list[str]
    fused: NotRequired[list[tuple[str, list[str]]]]
    joined: NotRequired[list[tuple[str, list[str]]]]
    unprefixed: NotRequired[list[str]]


@cache
def _documents() -> dict[str, _Document]:
    folder = resources.files("deltareg.delta.names")
    return {
        entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    }


def _rules(model_type: str, document: _Document, *, also_strip: tuple[str, ...] = ()) -> NameRules:
    return NameRules(
        model_type=model_type,
        prefix=document["prefix"],
        strip=tuple(dict.fromkeys((*document["strip"], *filter(None, also_strip)))),
        renames=tuple((old, new) for old, new in document["renames"]),
        buffers=tuple(document["buffers"]),
        tied=tuple((twin, stored) for twin, stored in document["tied"]),
        transposed=tuple(document["transposed"]),
        heads=frozenset(document["heads"]),
        fused=tuple((whole, tuple(modules)) for whole, modules in document.get("fused", ())),
        joined=tuple((whole, tuple(modules)) for whole, modules in document.get("joined", ())),
        unprefixed=frozenset(document.get("unprefixed", ())),
    )
