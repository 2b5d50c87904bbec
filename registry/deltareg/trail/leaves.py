"""A row of the audit trail as a leaf: its fields in the canonical form of RFC 8785.

Values that JSON allows and RFC 8785 cannot write are converted to text first: integers that a
double cannot represent, NaN, lone surrogates. So every row can be sealed, and a row from an export
gives the same leaf as the one in the database.
"""

import math
from collections.abc import Mapping
from hashlib import sha256

import rfc8785

from deltareg.documents.json_values import is_list, is_object
from deltareg.trail.merkle import leaf_hash

STATEMENT = "statement"
"""The field of a leaf that names what was signed about its row: the sha256 of the envelope."""
_MOST = (1 << 53) - 1


def leaf_of(row: Mapping[str, object], *, statement: bytes = b"") -> dict[str, object]:
    """Build the leaf of a row, in JSON values.

    Args:
        row: The row's fields.
        statement: The signed statement about it; empty for most.
    """
    leaf = {name: _plain(value) for name, value in row.items()}
    if statement:
        leaf[STATEMENT] = name_statement(statement)
    return leaf


def name_statement(statement: bytes) -> str:
    """Name a signed statement as the leaf of its row does."""
    return f"sha256:{sha256(statement).hexdigest()}"


def encode_leaf(leaf: Mapping[str, object]) -> bytes:
    """Encode a leaf in canonical form."""
    try:
        return rfc8785.dumps(dict(leaf))  # type: ignore[arg-type]  # JSON, which it checks
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):  # a leaf that `leaf_of` did not make
        return rfc8785.dumps(_plain(dict(leaf)))  # type: ignore[arg-type]


def hash_of(leaf: Mapping[str, object]) -> bytes:
    """Hash a leaf as the tree does."""
    return leaf_hash(encode_leaf(leaf))


def _plain(value: object) -> object:
    match value:
        case str():
            return _text(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case int():
            return value if -_MOST <= value <= _MOST else str(value)
        case _ if is_object(value):
            return {_text(name): _plain(each) for name, each in value.items()}
        case _ if is_list(value):
            return [_plain(each) for each in value]
        case _:
            return value


def _text(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
