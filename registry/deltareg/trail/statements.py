"""The server's signed statements about sealed rows: moves of channels and revocations.

A statement is an in-toto statement in a DSSE envelope. Its subject is the version that was moved
to, or revoked, by its manifest's digest; for a row about no version, the row itself.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from deltareg.documents.json_values import is_object
from deltareg.errors import BadSignature
from deltareg.signing.keys import PublicKey, SigningKey
from deltareg.signing.signed_statements import open_statement, sign_statement
from deltareg.signing.statement import Statement
from deltareg.trail.leaves import STATEMENT, encode_leaf, name_statement

CHANGE: Final = "urn:deltareg:attestation:change:v1"
SIGNED: Final = frozenset(
    {
        "channel.promote",
        "channel.rollback",
        "channel.clear",
        "channel.freeze",
        "channel.unfreeze",
        "channel.rename",
        "line.rename",
        "namespace.rename",
        "version.revoke",
        "version.unrevoke",
        "key.revoke",
    }
)
"""The actions whose rows are signed."""
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")


def sign_change(row: Mapping[str, object], key: SigningKey) -> bytes:
    """Sign the content of a row; return the envelope.

    Args:
        row: The row's leaf, without a statement.
        key: The server's key.
    """
    return sign_statement(_statement(row), key)


def check_change(envelope: bytes, leaf: Mapping[str, object], keys: Iterable[PublicKey]) -> PublicKey:
    """Check a statement against the leaf that names it; return the key that signed it.

    Raises:
        BadSignature: No trusted server signed it, or it has other content.
    """
    trusted = {key.keyid: key for key in keys}
    if leaf.get(STATEMENT) != name_statement(envelope):
        raise BadSignature("what is signed about the row is not what the row names")
    signed = open_statement(envelope, trusted, predicate_type=CHANGE)
    row = {name: value for name, value in leaf.items() if name != STATEMENT}
    if signed.statement != _statement(row):
        raise BadSignature("what is signed about the row is not what the row says")
    return trusted[signed.keyid]


def _statement(row: Mapping[str, object]) -> Statement:
    after = row.get("after")
    digest = after.get("digest") if is_object(after) else None
    match = _SHA256.fullmatch(digest) if isinstance(digest, str) else None
    name = f"audit/{row.get('id')}" if match is None else str(row.get("subject"))
    hexed = sha256(encode_leaf(row)).hexdigest() if match is None else match[1]
    return Statement(name, hexed, CHANGE, {"row": dict(row)})
