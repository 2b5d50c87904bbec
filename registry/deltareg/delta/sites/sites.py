"""The attention and feedforward sublayers of one base, by the paths of its running network.

The knowledge of an architecture is one JSON file per model type. Everything is relative to the list
of layers, which is located by the names of the base's weights, so classes with and without a head
share their rows.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Literal, NotRequired, TypedDict

from deltareg.delta.kind import BaseView, Tap

Part = Literal["attention", "cross", "ffn"]


@dataclass(frozen=True, slots=True)
class Sublayer:
    """One attention or feedforward part of a layer.

    Attributes:
        hook: Its last module before the residual is added; adapters change its output.
        residual: The value that is added to that output, before any normalisation of the sublayer.
        norm: The normalisation after the addition; empty where it comes before the sublayer.
        attention: The module that holds the attention; empty for a feedforward part.
    """

    hook: str
    residual: Tap
    norm: str
    attention: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Attributes:
        stack: Which list it is in: `decoder`, `encoder`, `text`, `vision`, or `fusion` for layers
            that only let words look at images.
        number: Its place there.
        path: Its module.
        parts: Its sublayers; a layer may lack some that others of its stack have.
    """

    stack: str
    number: int
    path: str
    parts: dict[Part, Sublayer]


@dataclass(frozen=True, slots=True)
class Sites:
    """All layers of one base.

    Attributes:
        model_type: The base's.
        layers: By stack, then in order.
        embeddings: The module whose output the first layer takes, by stack.
    """

    model_type: str
    layers: tuple[Layer, ...]
    embeddings: dict[str, str]

    def stack(self, name: str) -> list[Layer]:
        """Return the layers of one stack, in order."""
        return [layer for layer in self.layers if layer.stack == name]


def sites_of(base: BaseView) -> Sites | None:
    """Return the sublayers of a base; None for a model type without a file here."""
    document = _documents().get(base.names.model_type)
    if document is None:
        return None
    names = [memory for name in base.tensors if (memory := base.names.memory(name))]
    modules = _modules(names)
    layers: list[Layer] = []
    embeddings: dict[str, str] = {}
    for stack in document["stacks"]:
        paths = _layer_paths(names, stack["layers"])
        layers += _layers(stack, paths, modules)
        if paths and "embeddings" in stack:
            root = next(iter(paths.values())).removesuffix(f"{stack['layers']}.{min(paths)}")
            embeddings[stack["name"]] = f"{root}{stack['embeddings']}"
    return Sites(base.names.model_type, tuple(layers), embeddings)


class _Part(TypedDict):
    hook: str
    residual: tuple[str, Literal["input"], int]
    norm: NotRequired[str]
    attention: NotRequired[str]


class _Stack(TypedDict):
    name: str
    layers: str
    embeddings: NotRequired[str]
    parts: dict[Part, _Part]


class _Document(TypedDict):
    stacks: list[_Stack]


@cache
def _documents() -> dict[str, _Document]:
    folder = resources.files("deltareg.delta.sites")
    return {
        entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    }


def _layer_paths(names: list[str], layers: str) -> dict[int, str]:
    """Find `<root>.<layers>.<number>` in names of weights; return number -> path."""
    pattern = re.compile(rf"((?:.*\.)?{re.escape(layers)})\.(\d+)\.")
    candidates: dict[int, set[str]] = defaultdict(set)
    for name in names:
        match = pattern.match(name)
        if match:
            candidates[int(match[2])].add(f"{match[1]}.{match[2]}")
    return {number: paths.pop() for number, paths in candidates.items() if len(paths) == 1}


def _modules(names: Iterable[str]) -> frozenset[str]:
    """Return every module that has a weight, directly or below it."""
    modules: set[str] = set()
    for name in names:
        path = name.rpartition(".")[0]
        while path and path not in modules:
            modules.add(path)
            path = path.rpartition(".")[0]
    return frozenset(modules)


def _layers(stack: _Stack, paths: Mapping[int, str], modules: frozenset[str]) -> list[Layer]:
    """Build the layers of a stack; layers may differ in their parts."""
    layers = [
        Layer(stack["name"], number, path, {name: _sublayer(path, part) for name, part in stack["parts"].items()})
        for number, path in sorted(paths.items())
    ]
    with_weights = {name for layer in layers for name, part in layer.parts.items() if part.hook in modules}
    return [
        replace(
            layer,
            parts={
                name: part for name, part in layer.parts.items() if part.hook in modules or name not in with_weights
            },
        )
        for layer in layers
    ]


def _sublayer(path: str, part: _Part) -> Sublayer:
    module, point, argument = part["residual"]
    norm, attention = part.get("norm", ""), part.get("attention", "")
    return Sublayer(
        hook=f"{path}.{part['hook']}",
        residual=Tap(f"{path}.{module}", point, argument),
        norm=f"{path}.{norm}" if norm else "",
        attention=f"{path}.{attention}" if attention else "",
    )
