"""What rows have packed since revision 0053, read without the release that packed it.

Released revisions call this module: what it reads never changes.
"""

import base64
import json
from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import sqlalchemy as sa
import zstandard

ENVELOPES = {"verdict_envelopes": "verdict_id", "summaries": "revision_id", "log_statements": "audit_id"}
"""Tables with envelopes in `body`, and their keys."""
_KEYID_BYTES = 32


def open_text(stored: bytes) -> bytes:
    """Return what was packed beside a known text, whose number is the first byte."""
    text = files("deltareg.db.sql").joinpath(f"known_text_{stored[0]}.txt").read_bytes()
    known = zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdDecompressor(dict_data=known).decompress(stored[1:])


def write_envelope(stored: bytes) -> bytes:
    """Return the envelope of a row, packed or not."""
    if not stored or stored[0] >= ord(" "):
        return stored
    inner = open_text(stored)
    form, inner = inner[:1], inner[1:]
    if form == b"=":
        return inner
    kind, inner = _cut(inner)
    signature, inner = _cut(inner)
    document = {
        "payload": base64.b64encode(inner[_KEYID_BYTES:]).decode(),
        "payloadType": kind.decode(),
        "signatures": [{"keyid": inner[:_KEYID_BYTES].hex(), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def write_json(text: str) -> str:
    """Return the JSON of a row, packed or not, as the release before writes it."""
    value: Any = json.loads(text)
    last = value[-1] if isinstance(value, list) and value else value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(last, dict) and last.keys() == {"packed"} and isinstance(last["packed"], str):
        return json.dumps(json.loads(open_text(base64.b85decode(last["packed"])).decode("utf-8", "surrogatepass")))
    return text


@contextmanager
def rewriting(conn: sa.Connection, table: str) -> Generator[None, None, None]:
    """Let rows of an append-only table be written anew, in this transaction alone."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        conn.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
    triggers = conn.exec_driver_sql(query, (table,)).all()
    for name, _ in triggers:
        conn.exec_driver_sql(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        conn.exec_driver_sql(sql)


def _cut(inner: bytes) -> tuple[bytes, bytes]:
    end = 1 + inner[0]
    return inner[1:end], inner[end:]
