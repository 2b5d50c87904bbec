"""Builds networks by transformers: the class that a base's `config.json` names."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch
import transformers

from deltareg.delta.base_manifest import CONFIG_FILE
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.networks.loaded_stays import keep_loaded
from deltareg_verify.engine.torch_engine.networks.loading import LoadReport
from deltareg_verify.engine.torch_engine.seeded.placeholders import TOKEN_SETTINGS

_NO_TOKEN = -1
_FIRST_FREE = 3  # after those that pad, begin and end texts
_SAID = frozenset({"architectures", "id2label", "label2id"})
_Told = Mapping[str, Iterable[object]]
_UNREADABLE = (ValueError, OSError, KeyError, ImportError)


def make(
    path: Path, values: Mapping[str, torch.Tensor], dtype: torch.dtype, said: Mapping[str, object]
) -> tuple[transformers.PreTrainedModel, LoadReport]:
    """Build the network of a folder's config, with these values.

    Args:
        path: The folder.
        values: By name in its files.
        dtype: The dtype to run in.
        said: The config of base and delta together, which decides the class and the labels.

    Raises:
        Inconclusive: transformers has no class for it, or no use for its values.
    """
    keep_loaded()
    try:
        config = _config_as(path, said)
        _say(config, said)
        _keep_weights(config)
        _know_placeholders(config)
        loaded = _network_class(config).from_pretrained(
            None,
            config=config,
            state_dict=dict(values),
            dtype=dtype,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except _UNREADABLE as error:
        raise _unloadable(path, error) from error
    # With the information asked for it is a pair, which its types do not say.
    module, report = cast("tuple[transformers.PreTrainedModel, _Told]", loaded)
    text = module.config.get_text_config()
    if getattr(text, "pad_token_id", None) is None:
        text.pad_token_id = _NO_TOKEN  # or a classifier refuses to look for the last token of each
    return module, _loading(report)


def told_dtype(path: Path) -> torch.dtype | None:
    """Return the dtype that a folder's config names; None when it names none.

    Raises:
        Inconclusive: Its config cannot be read.
    """
    try:
        dtype = getattr(_config(path), "dtype", None)
    except _UNREADABLE as error:
        raise _unloadable(path, error) from error
    return dtype if isinstance(dtype, torch.dtype) else None


def _config(path: Path) -> transformers.PretrainedConfig:
    config: transformers.PretrainedConfig = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
    return config


def _config_as(path: Path, said: Mapping[str, object]) -> transformers.PretrainedConfig:
    """Read a folder's config, or the one that a delta brings instead."""
    config = _config(path)
    fields = json.loads((path / CONFIG_FILE).read_bytes())
    keys = (fields.keys() | said.keys()) - _SAID
    if all(fields.get(key) == said.get(key) for key in keys):
        return config
    with TemporaryDirectory() as folder:
        (Path(folder) / CONFIG_FILE).write_text(json.dumps(said))
        return _config(Path(folder))


def _loading(told: _Told) -> LoadReport:
    mismatched = (name[0] if isinstance(name, tuple) else name for name in told["mismatched_keys"])
    return LoadReport(
        frozenset(map(str, told["missing_keys"])),
        frozenset(map(str, told["unexpected_keys"])),
        frozenset(map(str, mismatched)),
    )


def _say(config: transformers.PretrainedConfig, said: Mapping[str, object]) -> None:
    """Set the class and the labels of a base whose delta brings its own head."""
    architectures, labels = said.get("architectures"), said.get("id2label")
    if is_list(architectures):
        config.architectures = [str(name) for name in architectures]
    if is_object(labels) and len(labels) != config.num_labels:
        config.num_labels = len(labels)


def _keep_weights(config: transformers.PretrainedConfig) -> None:
    """Make RWKV leave its weights unchanged; otherwise it divides them at its first forward."""
    if getattr(config, "rescale_every", 0):
        config.rescale_every = 0


def _know_placeholders(config: transformers.PretrainedConfig) -> None:
    """Give what stands for images and sounds a token of the vocabulary, where the config names none.

    Early configs of LLaVA and Fuyu do so, and no text could hold such a token. Its number changes nothing that is
    computed: what the network makes of the image takes its place.
    """
    vocabulary = getattr(config.get_text_config(), "vocab_size", None)
    for number, name in enumerate(TOKEN_SETTINGS, start=_FIRST_FREE):
        token = getattr(config, name, None)
        if isinstance(token, int) and isinstance(vocabulary, int) and number < vocabulary <= token:
            setattr(config, name, number)


def _unloadable(path: Path, error: Exception) -> Inconclusive:
    return Inconclusive(
        f"transformers {transformers.__version__} cannot load the base {path.name}: {error}",
        fix="run it on a worker whose transformers knows this architecture",
    )


def _network_class(config: transformers.PretrainedConfig) -> type[transformers.PreTrainedModel]:
    for name in config.architectures or ():
        network_class = getattr(transformers, name, None)
        if isinstance(network_class, type) and issubclass(network_class, transformers.PreTrainedModel):
            return network_class
    return cast(type[transformers.PreTrainedModel], transformers.MODEL_MAPPING[type(config)])
