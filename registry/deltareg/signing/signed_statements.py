"""Signed statements: in-toto statements in DSSE envelopes, written and read."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.errors import BadSignature
from deltareg.signing.envelopes import open_envelope, seal
from deltareg.signing.keys import PublicKey, SigningKey
from deltareg.signing.statement import PAYLOAD_TYPE, Statement, decode_statement, encode_statement


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement and the key that signed it."""

    statement: Statement
    keyid: str


def sign_statement(statement: Statement, key: SigningKey) -> bytes:
    """Encode and sign a statement; return the envelope."""
    return seal(encode_statement(statement), key, payload_type=PAYLOAD_TYPE)


def open_statement(raw: bytes, keys: Mapping[str, PublicKey], *, predicate_type: str) -> SignedStatement:
    """Return the statement in an envelope that one of the keys signed.

    Only the bytes that the signature covers are read.

    Raises:
        BadSignature: The signature is invalid, or the payload is not a statement of that type.
    """
    opened = open_envelope(raw, keys, payload_type=PAYLOAD_TYPE)
    statement = decode_statement(opened.payload)
    if statement.predicate_type != predicate_type:
        raise BadSignature(
            f"the statement is of type {statement.predicate_type[:80]!r}",
            fix="see what it is: deltareg verdict verify FILE",
        )
    return SignedStatement(statement, opened.keyid)
