"""Signed envelopes in rows: without base64, and beside a known text.

An envelope that this project seals is JSON around the base64 of a JSON statement. A row keeps the
statement, the signature and the type, from which the very bytes are written again; any other
envelope is kept as it came. Signatures and digests are of those bytes, so both forms return exactly
what was stored.
"""

import base64
import json
from typing import Any, cast

import sqlalchemy as sa

from deltareg.db.sql.known_text import is_packed, pack_known, unpack_known
from deltareg.db.sql.written_form import packs_rows
from deltareg.documents.json_values import parse_json

_TAKEN_APART, _AS_IT_CAME = b"e", b"="
_KEYID_BYTES = 32


class EnvelopeColumn(sa.types.TypeDecorator[bytes]):
    """A column of envelopes; reading returns the bytes that were written, packed or not."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Pack an envelope for its column."""
        return value if value is None or not packs_rows(dialect) else pack_envelope(value)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Write an envelope from its column again."""
        return None if value is None else unpack_envelope(bytes(value))


def pack_envelope(body: bytes) -> bytes:
    """Pack an envelope; what is not shorter packed stays as it is."""
    packed = pack_known(_take_apart(body) or _AS_IT_CAME + body)
    is_readable = not is_packed(body)
    return packed if len(packed) < len(body) or not is_readable else body


def unpack_envelope(stored: bytes) -> bytes:
    """Return the bytes that were packed, or that a row of an older release has.

    Raises:
        IntegrityFailure: They are damaged.
    """
    if not is_packed(stored):
        return stored
    inner = unpack_known(stored)
    form, inner = inner[:1], inner[1:]
    if form == _AS_IT_CAME:
        return inner
    kind, inner = _cut(inner)
    signature, inner = _cut(inner)
    keyid, payload = inner[:_KEYID_BYTES], inner[_KEYID_BYTES:]
    return _write(kind, keyid, signature, payload)


def _take_apart(body: bytes) -> bytes | None:
    """Return the parts of an envelope as it is sealed here; None if they would not give it again."""
    try:
        fields = cast("dict[str, Any]", parse_json(body))
        (signed,) = fields["signatures"]
        payload = base64.b64decode(fields["payload"], validate=True)
        kind, signature = fields["payloadType"].encode(), base64.b64decode(signed["sig"], validate=True)
        keyid = bytes.fromhex(signed["keyid"])
        parts = bytes([len(kind)]) + kind + bytes([len(signature)]) + signature + keyid + payload
        is_same = len(keyid) == _KEYID_BYTES and _write(kind, keyid, signature, payload) == body
    except (ValueError, KeyError, TypeError, AttributeError):  # of a base64 as well
        return None
    return _TAKEN_APART + parts if is_same else None


def _cut(inner: bytes) -> tuple[bytes, bytes]:
    """Return a part that its length precedes, and what follows."""
    end = 1 + inner[0]
    return inner[1:end], inner[end:]


def _write(kind: bytes, keyid: bytes, signature: bytes, payload: bytes) -> bytes:
    document = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind.decode(),
        "signatures": [{"keyid": keyid.hex(), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
