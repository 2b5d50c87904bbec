"""What a base's config says of how its weights are packed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import InvalidInput

SchemeName = Literal["fp8", "int8", "awq", "gptq", "bnb4", "mxfp4"]
SCHEMES: tuple[SchemeName, ...] = get_args(SchemeName)
_BY_METHOD: dict[str, SchemeName] = {"fp8": "fp8", "fbgemm_fp8": "fp8", "gptq": "gptq", "awq": "awq", "mxfp4": "mxfp4"}
_PLACES = ("quantization_config", "compression_config")


@dataclass(frozen=True, slots=True)
class QuantisationConfig:
    """What a config says of its weights.

    Attributes:
        method: What wrote them, by the config's word; empty when it says nothing.
        scheme: The scheme that this is here; None when it is none of those that are known.
        fields: The object that says so.
    """

    method: str
    scheme: SchemeName | None
    fields: Mapping[str, object]


def scheme_named(name: str) -> SchemeName:
    """Give a scheme by its name.

    Raises:
        InvalidInput: There is none of that name here.
    """
    for scheme in SCHEMES:
        if scheme == name:
            return scheme
    raise InvalidInput(f"no scheme {name[:40]!r}", fix=f"one of {', '.join(SCHEMES)}")


def read_quantisation(config: Mapping[str, object]) -> QuantisationConfig | None:
    """Read what a base's `config.json` says of packed weights; None when it says nothing."""
    for place in _PLACES:
        fields = config.get(place)
        if is_object(fields) and fields:
            method = str(fields.get("quant_method", "") or "")[:40]
            return QuantisationConfig(method or place, _scheme(method, fields), fields)
    inner = config.get("text_config")
    return read_quantisation(inner) if is_object(inner) else None


def _scheme(method: str, fields: Mapping[str, object]) -> SchemeName | None:
    if method in {"", "bitsandbytes"}:
        if fields.get("load_in_4bit") or fields.get("_load_in_4bit"):
            return "bnb4"
        return "int8" if fields.get("load_in_8bit") or fields.get("_load_in_8bit") else None
    if method in {"compressed-tensors", "compressed_tensors"}:
        return _of_groups(fields.get("config_groups"))
    if method == "modelopt":
        return "fp8" if str(fields.get("quant_algo", "")).upper() == "FP8" else None
    return _BY_METHOD.get(method)


def _of_groups(groups: object) -> SchemeName | None:
    """Give the one scheme of all groups of compressed-tensors; None when there is none."""
    by_sort: dict[tuple[object, object], SchemeName] = {("float", 8): "fp8", ("int", 8): "int8"}
    schemes: set[SchemeName | None] = set()
    for group in groups.values() if is_object(groups) else ():
        weights = group.get("weights") if is_object(group) else None
        weights = weights[0] if is_list(weights) and weights else weights
        settings = weights if is_object(weights) else {}
        bits, sort = settings.get("num_bits"), settings.get("type")
        schemes.add(by_sort.get((sort, bits)) if isinstance(bits, int | str) else None)
    return schemes.pop() if len(schemes) == 1 else None
