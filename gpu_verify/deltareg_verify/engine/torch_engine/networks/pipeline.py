"""A pipeline of diffusers: those of its components that are needed, side by side.

`model_index.json` names a library and a class for each. The scheduler, tokenizers and whatever else
has no weights take no part; how the components work together is the pipeline's code, and not run.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from deltareg.delta.kind import BaseView, Effect
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.pipeline import parts_touched
from deltareg.documents.json_values import is_list
from deltareg.errors import Inconclusive
from deltareg_verify.engine.case import BaseFiles
from deltareg_verify.engine.torch_engine.networks import diffusers_class, transformers_class
from deltareg_verify.engine.torch_engine.networks.calling import ComponentNetworks

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunBase:
    """The part of a base that runs.

    Attributes:
        path: The base's folder.
        view: Its names, shapes and configuration.
        tensors: By name; data is read on access.
    """

    path: Path
    view: BaseView
    tensors: Mapping[str, Tensor]


def run_part(base: BaseFiles, effects: Sequence[Effect]) -> RunBase:
    """Return what must run for effects: of a pipeline the components that they touch."""
    whole = RunBase(base.path, base.view, base.tensors)
    parts = parts_touched(effects, base.view.components)
    if not parts:
        return whole
    view = replace(
        whole.view,
        tensors=_within(parts, whole.view.tensors),
        components={n: c for n, c in whole.view.components.items() if n in parts},
    )
    return replace(whole, view=view, tensors=_within(parts, whole.tensors))


def make(path: Path, view: BaseView, values: Mapping[str, torch.Tensor], dtype: torch.dtype) -> nn.Module:
    """Build the components of a view, with these values.

    Raises:
        Inconclusive: A component is of another library, or cannot be built.
    """
    own: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, value in values.items():
        part, _, rest = name.partition(".")
        own[part][rest] = value
    components: dict[str, nn.Module] = {}
    for part, config in view.components.items():
        library = _library(view.config.get(part))
        if diffusers_class.is_component(config):
            components[part] = diffusers_class.make(config, own[part], dtype)
        elif library in {"transformers", ""}:
            components[part], _ = transformers_class.make(path / part, own[part], dtype, config)
        else:
            message = f"the component {part} of the pipeline is made by {library}"
            raise Inconclusive(
                f"{message}, whose code is not run", fix="push for a component that is a base of its own"
            )
    return ComponentNetworks(components)


def _library(told: object) -> str:
    """Read the library of a component from the pipeline's list."""
    return str(told[0]) if is_list(told) and told else ""


def _within(parts: Collection[str], named: Mapping[str, _T]) -> dict[str, _T]:
    return {name: value for name, value in named.items() if name.partition(".")[0] in parts}
