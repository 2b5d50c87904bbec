"""The config of mlx-lm: the scale, and the modules that it adapts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.peft.config import CONFIG_FILE, is_number
from deltareg.documents.json_values import is_object
from deltareg.errors import Problem, Refused

SETTINGS, TYPE, LAYERS = "lora_parameters", "fine_tune_type", "num_layers"
LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class MlxSettings:
    """What the config says.

    Attributes:
        scale: The factor on the product.
        rank: The rank of every module; None if not given.
        keys: The modules that are adapted; None for all.
        first_layer: The first layer whose modules are adapted.
        is_decomposed: Whether it is DoRA.
        trained_on: The config's name of the base.
        embedding: The base's embedding weight; empty if it has none under MLX's name.
    """

    scale: float
    rank: int | None
    keys: frozenset[str] | None
    first_layer: int
    is_decomposed: bool
    trained_on: str
    embedding: str = ""

    def selects(self, path: str) -> bool:
        """Whether mlx-lm adapts a module."""
        match = LAYER.fullmatch(path)
        is_in_layers = match is not None and int(match[1]) >= self.first_layer
        if self.keys is None:
            return is_in_layers
        return path in self.keys or (is_in_layers and cast("re.Match[str]", match)[2] in self.keys)


def read_settings(config: Mapping[str, object] | None, base: BaseView) -> MlxSettings:
    """Read the config.

    Raises:
        Refused: The config is missing, or a field has no valid value.
    """
    if config is None:
        message = f"the scale of what MLX trained is in {CONFIG_FILE} alone, and it is missing"
        fix = f"name the folder that mlx-lm wrote, with {CONFIG_FILE} in it"
        raise Refused([Problem("missing_config", message, fix=fix)])
    kind = config.get(TYPE, "lora")
    if kind not in {"lora", "dora"}:
        message = f"{CONFIG_FILE}: {TYPE} is {str(kind)[:40]!r}, which holds weights and no factors"
        fix = "fuse it with mlx_lm.fuse and push the result as a full fine-tune"
        raise Refused([Problem("bad_config", message, fix=fix)])
    inner = config.get(SETTINGS)
    parameters = inner if is_object(inner) else {}
    count, layers = layer_count(base), _whole(config.get(LAYERS), LAYERS)
    layer_total = count if layers is None or layers <= 0 else layers
    name = config.get("model")
    return MlxSettings(
        scale=_scale(parameters.get("scale")),
        rank=_whole(parameters.get("rank"), f"{SETTINGS}.rank"),
        keys=_keys(parameters.get("keys")),
        first_layer=max(count - layer_total, 0),
        is_decomposed=kind == "dora",
        trained_on=name if isinstance(name, str) else "",
        embedding=base.names.tensor("model.embed_tokens.weight") or "",
    )


def _scale(value: object) -> float:
    if is_number(value) and value != 0:
        return float(cast("float", value))
    message = f"{CONFIG_FILE}: {SETTINGS}.scale is {str(value)[:40]}, and no factor on the product"
    raise Refused([Problem("bad_config", message, fix="write the scale it was trained with")])


def _whole(value: object, name: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    message = f"{CONFIG_FILE}: {name} is {str(value)[:40]}, and no whole number"
    raise Refused([Problem("bad_config", message, fix="write it as mlx-lm does")])


def _keys(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(k, str) for k in cast("list[object]", value)):
        return frozenset(cast("list[str]", value))
    message = f"{CONFIG_FILE}: {SETTINGS}.keys is no list of names"
    raise Refused([Problem("bad_config", message, fix="write it as mlx-lm does")])


def layer_count(base: BaseView) -> int:
    """Return the number of layers of a network that names them `model.layers.N`."""
    names = (LAYER.fullmatch(base.names.memory(name) or name) for name in base.tensors)
    return max((int(match[1]) + 1 for match in names if match is not None), default=0)
