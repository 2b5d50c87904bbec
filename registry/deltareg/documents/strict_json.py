"""JSON that means one thing: no key twice, no NaN, no text that is no Unicode, no depth without end."""

import json
from typing import NoReturn

from deltareg.documents.json_values import is_object, read_float
from deltareg.errors import InvalidInput

_DEEPEST = 16


def parse_object(data: bytes, *, what: str) -> dict[str, object]:
    """Parse a JSON object in UTF-8.

    Args:
        data: The bytes.
        what: What they are, for the error.

    Raises:
        InvalidInput: They are no object, or readers would not agree on what it says.
    """
    if _depth(data) > _DEEPEST:
        raise InvalidInput(f"{what} is nested deeper than {_DEEPEST} levels")
    try:
        value: object = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=read_float
        )
    except ValueError as error:
        raise InvalidInput(f"{what} is no JSON that means one thing: {error}") from error
    if not is_object(value):
        raise InvalidInput(f"{what} is no JSON object")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in json.dumps(value, ensure_ascii=False)):
        raise InvalidInput(f"{what} holds half a character")
    return value


def _depth(data: bytes) -> int:
    """Count an upper bound of the nesting, without a parser that would recurse."""
    depth = deepest = 0
    for byte in data:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands in it twice")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
