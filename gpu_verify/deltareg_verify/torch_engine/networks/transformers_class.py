"""A network that transformers makes: the class that a base's `config.json` names."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
import transformers

from deltareg.errors import Inconclusive

_UNREADABLE = (ValueError, OSError, KeyError, ImportError)


def make(
    path: Path, values: Mapping[str, torch.Tensor], dtype: torch.dtype | None
) -> transformers.PreTrainedModel:
    """Make the network of a folder's config, of these values.

    Raises:
        Inconclusive: transformers has no class for it, or no use for its values.
    """
    try:
        config = _config(path)
        module: transformers.PreTrainedModel = _network_class(config).from_pretrained(
            None, config=config, state_dict=dict(values), dtype=dtype or "auto"
        )
    except _UNREADABLE as error:
        raise _unloadable(path, error) from error
    return module


def told_dtype(path: Path) -> torch.dtype | None:
    """Give the dtype that a folder's config names; None when it names none.

    Raises:
        Inconclusive: Its config cannot be read.
    """
    try:
        told = getattr(_config(path), "dtype", None)
    except _UNREADABLE as error:
        raise _unloadable(path, error) from error
    return told if isinstance(told, torch.dtype) else None


def _config(path: Path) -> transformers.PretrainedConfig:
    found: transformers.PretrainedConfig = transformers.AutoConfig.from_pretrained(
        path, local_files_only=True
    )
    return found


def _unloadable(path: Path, error: Exception) -> Inconclusive:
    return Inconclusive(
        f"transformers {transformers.__version__} cannot load the base {path.name}: {error}",
        fix="run it on a worker whose transformers knows this architecture",
    )


def _network_class(config: transformers.PretrainedConfig) -> type[transformers.PreTrainedModel]:
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    return cast(type[transformers.PreTrainedModel], transformers.MODEL_MAPPING[type(config)])
