"""Facts about the model classes of transformers, as data: deltas are read without transformers.

A generator in the tests writes `facts.json` from the installed transformers, and a test compares
the two.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

FACTS = Path(__file__).with_name("facts.json")


@dataclass(frozen=True, slots=True)
class ArchitectureFacts:
    """What is known of the model classes of transformers.

    Attributes:
        ties: Class -> parameter -> the parameter whose tensor it shares, while the config ties.
        conv1d: Model type -> names of the modules whose weight is stored (in, out).
        experts_in_out: Model types whose stacks of experts are stored (experts, in, out).
        scaled_by_ties: Model types that scale their outputs by whether their config ties.
        standardised: Model types that standardise their kernels whenever they run them.
        causal_lm: Model type -> the class that is its language model.
        headed: Model type -> its classes that put a head on the plain network.
        prefixes: Model type -> the attribute that holds the plain network in classes with a head.
        types: Every model type.
        unpooled: Classes with a head that have the plain network without its pooler.
        renames: Class -> runs of components that its files spell in an older way, and the new run,
            in order. Only for classes whose names are all covered by these.
        loras_renamed: Model types for which peft takes old names of a LoRA to new ones.
    """

    ties: Mapping[str, Mapping[str, str]]
    conv1d: Mapping[str, frozenset[str]]
    experts_in_out: frozenset[str]
    scaled_by_ties: frozenset[str]
    standardised: frozenset[str]
    causal_lm: Mapping[str, str]
    headed: Mapping[str, frozenset[str]]
    prefixes: Mapping[str, str]
    types: frozenset[str]
    unpooled: frozenset[str]
    renames: Mapping[str, tuple[tuple[str, str], ...]]
    loras_renamed: frozenset[str]


class _Group(TypedDict):
    tied: dict[str, str]
    classes: list[str]


class _Renaming(TypedDict):
    renames: list[tuple[str, str]]
    classes: list[str]


class _Document(TypedDict):
    ties: list[_Group]
    renames: list[_Renaming]
    conv1d: dict[str, list[str]]
    experts_in_out: list[str]
    scaled_by_ties: list[str]
    standardised: list[str]
    causal_lm: dict[str, str]
    headed: dict[str, list[str]]
    prefixes: dict[str, str]
    types: list[str]
    unpooled: list[str]
    loras_renamed: list[str]


@cache
def facts() -> ArchitectureFacts:
    """Read `facts.json`, once."""
    document: _Document = json.loads(FACTS.read_text(encoding="utf-8"))
    return ArchitectureFacts(
        ties={name: group["tied"] for group in document["ties"] for name in group["classes"]},
        conv1d={name: frozenset(names) for name, names in document["conv1d"].items()},
        experts_in_out=frozenset(document["experts_in_out"]),
        scaled_by_ties=frozenset(document["scaled_by_ties"]),
        standardised=frozenset(document["standardised"]),
        causal_lm=document["causal_lm"],
        headed={name: frozenset(names) for name, names in document["headed"].items()},
        prefixes=document["prefixes"],
        types=frozenset(document["types"]),
        unpooled=frozenset(document["unpooled"]),
        loras_renamed=frozenset(document["loras_renamed"]),
        renames={
            name: tuple((old, new) for old, new in group["renames"])
            for group in document["renames"]
            for name in group["classes"]
        },
    )
