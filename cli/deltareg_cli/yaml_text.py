"""Writes JSON values as YAML that reads well; strings that YAML would misread are quoted."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.@+ -]*")
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "~"}


def to_yaml(value: object) -> str:
    """Give the YAML document of a JSON value."""
    return "\n".join(_block(value, "")) + "\n"


def _block(value: object, indent: str) -> Iterator[str]:
    mapping, items = _mapping(value), _items(value)
    for key, item in mapping.items():
        yield from _entry(f"{indent}{_scalar(key)}:", item, f"{indent}  ")
    for item in items:
        first, *rest = _block(item, f"{indent}  ")
        yield f"{indent}- {first.lstrip()}"
        yield from rest
    if not mapping and not items:
        yield f"{indent}{_scalar(value)}"


def _entry(head: str, item: object, indent: str) -> Iterator[str]:
    if _mapping(item) or _items(item):
        yield head
        yield from _block(item, indent)
    else:
        yield f"{head} {_scalar(item)}"


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def _scalar(value: object) -> str:
    if isinstance(value, float):
        return _float(value)
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = _PLAIN.fullmatch(value) and not value.endswith(" ")
    return value if is_plain and value.lower() not in _RESERVED else json.dumps(value)


def _float(value: float) -> str:
    """Write a number so that every version of YAML reads one: 1e-05 is a text to some."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    digits, mark, exponent = repr(value).partition("e")
    return f"{digits}.0e{exponent}" if mark and "." not in digits else repr(value)
