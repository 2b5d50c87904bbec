"""A full fine-tune as transformers itself loads it: the folder is a complete model."""

# transformers is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import transformers
from torch import nn

from deltareg.delta.base_manifest import CONFIG_FILE
from deltareg.delta.kind import Effect


def load_by_transformers(network: nn.Module, folder: Path, _effects: Sequence[Effect]) -> nn.Module | None:
    """Load a folder by `from_pretrained` of the class that its config names, beside its base.

    The model gets the device and the dtype of the base. A folder whose config names no class is no model.
    """
    kind = _class_of(folder)
    if kind is None:
        return None
    own = next(network.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = kind.from_pretrained(folder, dtype=own.dtype, local_files_only=True, use_safetensors=True)
    return cast("nn.Module", loaded).to(own.device).eval()


def _class_of(folder: Path) -> Any | None:  # noqa: ANN401  # a class that transformers names
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    architectures = cast("dict[str, object]", json.loads(path.read_text())).get("architectures")
    first = cast("list[object]", architectures)[:1] if isinstance(architectures, list) else []
    network_class = getattr(transformers, str(first[0]), None) if first else None
    is_class = isinstance(network_class, type) and issubclass(network_class, transformers.PreTrainedModel)
    return network_class if is_class else None
