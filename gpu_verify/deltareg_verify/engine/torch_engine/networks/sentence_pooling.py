"""What sentence-transformers does after the network: pooling, projection, normalisation.

`modules.json` lists the steps after the network. They become one more output of it,
`sentence_embedding`; with an unknown step there are only the network's own outputs. The steps are
those of the library (sentence-transformers 6, `Pooling`, `Dense`, `Normalize`).
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
import re
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from deltareg.documents.json_values import is_list, is_object
from deltareg_verify.engine.torch_engine.networks.pooling_modes import MODES, pool

MODULES_FILE = "modules.json"
OUTPUT = "sentence_embedding"
_CONFIG = "config.json"
_OLD_FOLDER = "0_Transformer"
_FOLDER = re.compile(r"[A-Za-z0-9_-]+")
_OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Identity": torch.clone,
    "Tanh": torch.tanh,
    "ReLU": torch.relu,
    "GELU": functional.gelu,
}
Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Step = Callable[[torch.Tensor], torch.Tensor]


def network_folder(path: Path) -> Path:
    """Return the folder of the network's config: the base's, or one that it names."""
    inner = path / _OLD_FOLDER
    return inner if not (path / _CONFIG).is_file() and inner.is_dir() else path


def add_pooling(module: PreTrainedModel, path: Path, values: Mapping[str, torch.Tensor]) -> None:
    """Have a network return `sentence_embedding` too, where its folder defines it.

    Args:
        module: The network.
        path: The base's folder.
        values: The base's tensors, for a projection.
    """
    first, *others = _list_modules(path) or [{}]
    if _kind(first) != "Transformer" or not others or _kind(others[0]) != "Pooling":
        return
    config = _config(path, others[0])
    modes = _modes(config) if config else ()
    steps = [_step(one, _config(path, one), values) for one in others[1:]]
    known_steps = [step for step in steps if step is not None]
    if modes and len(known_steps) == len(steps):
        _hook(module, partial(pool, modes=modes), known_steps)


def _hook(module: PreTrainedModel, pooled: Pool, steps: list[Step]) -> None:
    """Add the steps to a network's answer; a head's own answer stays beside it."""
    heard: list[torch.Tensor] = []

    def hear(_module: nn.Module, _args: object, answer: object) -> None:
        vectors = _vectors(answer)
        heard[:] = [] if vectors is None else [vectors]

    def add(_module: nn.Module, _args: object, kwargs: Mapping[str, object], answer: object) -> object:
        own_vectors = _vectors(answer)
        vectors = heard[0] if own_vectors is None and heard else own_vectors
        if vectors is not None and isinstance(answer, MutableMapping):
            value = pooled(vectors, _mask(kwargs.get("attention_mask"), vectors))
            for step in steps:
                value = step(value)
            cast("MutableMapping[str, object]", answer)[OUTPUT] = value
        heard.clear()
        return answer

    plain = module.base_model
    if plain is not module:
        plain.register_forward_hook(hear)
    module.register_forward_hook(add, with_kwargs=True)


def _vectors(answer: object) -> torch.Tensor | None:
    if not isinstance(answer, Mapping):
        return None
    vectors = cast("Mapping[str, object]", answer).get("last_hidden_state")
    return vectors if isinstance(vectors, torch.Tensor) and vectors.ndim > 2 else None


def _mask(given: object, vectors: torch.Tensor) -> torch.Tensor:
    """Return the mask of tokens; all count where it is of another length, as in the library."""
    if isinstance(given, torch.Tensor) and given.shape == vectors.shape[:2]:
        return given
    return torch.ones(vectors.shape[:2], dtype=torch.int64, device=vectors.device)


def _step(one: Mapping[str, object], config: Mapping[str, object], values: Mapping[str, torch.Tensor]) -> Step | None:
    match _kind(one):
        case "Normalize":
            return partial(functional.normalize, p=2.0, dim=1)
        case "Dense" if not config.get("use_residual"):
            name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
            weight, bias = values.get("linear.weight"), values.get("linear.bias")
            is_whole = weight is not None and (bias is not None or config.get("bias") is False)
            activation = _ACTIVATIONS.get(name)
            if not is_whole or activation is None or weight is None:
                return None
            return partial(_project, weight=weight, bias=bias, activation=activation)
        case _:
            return None


def _project(
    value: torch.Tensor,
    *,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    activation: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    own = None if bias is None else bias.to(value)
    return activation(functional.linear(value, weight.to(value), own))


def _modes(config: Mapping[str, object]) -> tuple[str, ...]:
    """Read how tokens are pooled, in today's or the old spelling; empty if unknown."""
    mode_names = config.get("pooling_mode")
    if mode_names is None:
        mode_names = [mode for key, mode in _OLD_MODES.items() if config.get(key)] or ["mean"]
    modes = tuple(str(mode) for mode in mode_names) if is_list(mode_names) else (str(mode_names),)
    return modes if set(modes) <= MODES else ()


def _list_modules(path: Path) -> list[dict[str, object]]:
    steps = _read(path / MODULES_FILE)
    return [one for one in steps if is_object(one)] if is_list(steps) else []


def _config(path: Path, one: Mapping[str, object]) -> Mapping[str, object]:
    folder = str(one.get("path") or "")
    config = _read(path / folder / _CONFIG) if _FOLDER.fullmatch(folder) else None
    return config if is_object(config) else {}


def _kind(one: Mapping[str, object]) -> str:
    return str(one.get("type", "")).rpartition(".")[2]


def _read(path: Path) -> object:
    try:
        return cast("object", json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None
