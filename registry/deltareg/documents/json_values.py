"""JSON that somebody else wrote: parsed without surprises, and type guards so that the type checker follows."""

import json
import math
from typing import TypeGuard


def parse_json(raw: bytes | str) -> object:
    """Parse JSON.

    Raises:
        ValueError: It is none, or nested deeper than any document that means something.
    """
    try:
        value: object = json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def read_float(text: str) -> float:
    """Return the number that JSON writes with a fraction or an exponent, for `json.loads(parse_float=…)`.

    Raises:
        ValueError: It is larger than any float, and would be read as infinity, which JSON cannot write.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is larger than any number that is read here")
    return value


def is_text(text: str) -> bool:
    """Whether a string is text that every database and every program takes: JSON may escape NUL and half a pair."""
    if "\0" in text:
        return False
    if text.isascii():  # which a string knows of itself; a look at each letter of 47 MiB takes a second
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a JSON value is an object; its keys are strings by JSON's own rule."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a JSON value is a list."""
    return isinstance(value, list)


def is_count(value: object, *, below: int = 1 << 62) -> TypeGuard[int]:
    """Whether a JSON value is a non-negative integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below
