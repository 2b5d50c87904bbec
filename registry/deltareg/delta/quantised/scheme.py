"""How a base's weights are packed, according to its config."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import InvalidInput
from deltareg.words import SCHEMES, Scheme

_BY_METHOD: dict[str, Scheme] = {"fp8": "fp8", "fbgemm_fp8": "fp8", "gptq": "gptq", "awq": "awq", "mxfp4": "mxfp4"}
_PLACES = ("quantization_config", "compression_config")


@dataclass(frozen=True, slots=True)
class QuantisationConfig:
    """The config's declaration of packed weights.

    Attributes:
        method: The method, in the config's words; empty if it names none.
        scheme: The corresponding scheme; None if it is not a known one.
        fields: The config's object about it.
    """

    method: str
    scheme: Scheme | None
    fields: Mapping[str, object]


def scheme_named(name: str) -> Scheme:
    """Return a scheme by name.

    Raises:
        InvalidInput: There is no scheme of this name.
    """
    for scheme in SCHEMES:
        if scheme == name:
            return scheme
    raise InvalidInput(f"no scheme {name[:40]!r}", fix=f"one of {', '.join(SCHEMES)}")


def read_quantisation(config: Mapping[str, object]) -> QuantisationConfig | None:
    """Read the declaration of packed weights in a base's `config.json`; None if there is none."""
    for place in _PLACES:
        fields = config.get(place)
        if is_object(fields) and fields:
            method = str(fields.get("quant_method", "") or "")[:40]
            return QuantisationConfig(method or place, _scheme(method, fields), fields)
    inner = config.get("text_config")
    return read_quantisation(inner) if is_object(inner) else None


def _scheme(method: str, fields: Mapping[str, object]) -> Scheme | None:
    if method in {"", "bitsandbytes"}:
        if fields.get("load_in_4bit") or fields.get("_load_in_4bit"):
            return "bnb4"
        return "int8" if fields.get("load_in_8bit") or fields.get("_load_in_8bit") else None
    if method in {"compressed-tensors", "compressed_tensors"}:
        return _of_groups(fields.get("config_groups"))
    if method == "modelopt":
        return "fp8" if str(fields.get("quant_algo", "")).upper() == "FP8" else None
    return _BY_METHOD.get(method)


def _of_groups(groups: object) -> Scheme | None:
    """Return the one scheme of all groups of compressed-tensors; None if they have no common one."""
    by_sort: dict[tuple[object, object], Scheme] = {("float", 8): "fp8", ("int", 8): "int8"}
    schemes: set[Scheme | None] = set()
    for group in groups.values() if is_object(groups) else ():
        weights = group.get("weights") if is_object(group) else None
        weights = weights[0] if is_list(weights) and weights else weights
        settings = weights if is_object(weights) else {}
        bits, sort = settings.get("num_bits"), settings.get("type")
        schemes.add(by_sort.get((sort, bits)) if isinstance(bits, int | str) else None)
    return schemes.pop() if len(schemes) == 1 else None
