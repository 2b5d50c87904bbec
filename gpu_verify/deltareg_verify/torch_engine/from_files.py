"""A network of transformers' over the memory of a base's files: reading it copies nothing.

The files are mapped to be read only, and shared, so their pages are no memory of this process: the
kernel drops them when it needs room, and no bound on private memory counts them. What has another
dtype, or is put together of several tensors, is copied.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import transformers

from deltareg.delta.maths.formula import Tensor
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Inconclusive
from deltareg_verify.torch_engine.ops import DTYPES, borrowed

_FRESH_SEED = 0
_NO_TOKEN = -1
_Told = Mapping[str, Iterable[object]]


@dataclass(frozen=True, slots=True)
class Loading:
    """What transformers says of a load, by names.

    Attributes:
        missing: Parameters of the class that came from no file and were newly initialised.
        unexpected: Tensors for which the class has no place.
        mismatched: Parameters that are of another shape than their tensor.
    """

    missing: frozenset[str] = frozenset()
    unexpected: frozenset[str] = frozenset()
    mismatched: frozenset[str] = frozenset()


def network_from(
    path: Path,
    values: Mapping[str, torch.Tensor],
    dtype: torch.dtype | None,
    said: Mapping[str, object],
) -> tuple[transformers.PreTrainedModel, Loading]:
    """Make the network that a base's config names, of these values.

    Args:
        path: The base's folder, for its config.
        values: By name in its files.
        dtype: What it is to run in; None leaves it to the config.
        said: The config as base and delta together have it; its class and its labels hold.

    Raises:
        Inconclusive: transformers has no class for it, or no use for its values.
    """
    torch.manual_seed(_FRESH_SEED)
    try:
        config = _config(path)
        _say(config, said)
        loaded = _network_class(config).from_pretrained(
            None, config=config, state_dict=dict(values), dtype=dtype or "auto",
            ignore_mismatched_sizes=True, output_loading_info=True,
        )  # fmt: skip
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise _unloadable(path, error) from error
    # With the information asked for it is a pair, which its types do not say.
    module, told = cast("tuple[transformers.PreTrainedModel, _Told]", loaded)
    text = module.config.get_text_config()
    if getattr(text, "pad_token_id", None) is None:
        text.pad_token_id = _NO_TOKEN  # or a classifier refuses to look for the last token of each
    module.eval()
    return module, _loading(told)


def mapped(tensors: Mapping[str, Tensor]) -> dict[str, torch.Tensor]:
    """Give the tensors of a base as the memory of its files; those of unknown dtypes are left."""
    return {n: borrowed(tensor) for n, tensor in tensors.items() if tensor.dtype in DTYPES}


def outlined(
    values: Mapping[str, torch.Tensor], names: Collection[str], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Put zeros that take no memory in the place of the real numbers of these names."""
    blank = torch.zeros((), dtype=dtype)
    return {
        name: blank.expand(value.shape) if name in names and value.is_floating_point() else value
        for name, value in values.items()
    }


def dtype_of(path: Path, tensors: Mapping[str, Tensor]) -> torch.dtype:
    """Give the dtype that a base runs in by itself: its config's, else its first tensor's.

    Raises:
        Inconclusive: Its config cannot be read.
    """
    try:
        told = getattr(_config(path), "dtype", None)
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise _unloadable(path, error) from error
    if isinstance(told, torch.dtype):
        return told
    known = (DTYPES[tensor.dtype] for tensor in tensors.values() if tensor.dtype in DTYPES)
    return next((dtype for dtype in known if dtype.is_floating_point), torch.float32)


def _config(path: Path) -> transformers.PretrainedConfig:
    found: transformers.PretrainedConfig = transformers.AutoConfig.from_pretrained(
        path, local_files_only=True
    )
    return found


def _loading(told: _Told) -> Loading:
    mismatched = (name[0] if isinstance(name, tuple) else name for name in told["mismatched_keys"])
    return Loading(
        frozenset(map(str, told["missing_keys"])),
        frozenset(map(str, told["unexpected_keys"])),
        frozenset(map(str, mismatched)),
    )


def _say(config: transformers.PretrainedConfig, said: Mapping[str, object]) -> None:
    """Name the class and the labels that a delta with a head of its own makes of its base."""
    architectures, labels = said.get("architectures"), said.get("id2label")
    if is_list(architectures):
        config.architectures = [str(name) for name in architectures]
    if is_object(labels) and len(labels) != config.num_labels:
        config.num_labels = len(labels)


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
