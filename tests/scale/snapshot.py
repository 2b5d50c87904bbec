"""What a step of a registry's life leaves in its database: the rows that were not there before it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from deltareg.db.session import read
from deltareg.db.sql.document import unpack_document, unpack_map
from deltareg.db.sql.envelope import EnvelopeColumn, unpack_envelope
from deltareg.db.sql.packed_json import ChecksColumn, PackedObjectColumn
from deltareg.db.tables import metadata
from deltareg.signing.envelopes import decode_base64

HEX = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])")
"""Digests, UUIDs and ids of requests, wherever they stand in a text."""

PACKED_JSON = (ChecksColumn, PackedObjectColumn)
_DIALECT = DefaultDialect()

# Made anew once all is filled in, from what is there by then.
DERIVED = {
    "event_head",
    "line_counts",
    "line_storage",
    "line_verdicts",
    "quota_usage",
    "quota_warnings",
    "released_packs",
    "storage_changes",
    "unsealed",
}
_LOG = "log_"

Row = dict[str, object]
Snapshot = dict[str, dict[tuple[object, ...], Row]]


@dataclass(frozen=True)
class Step:
    """The rows that a step left, as their drivers give them.

    Attributes:
        rows: By table, in the order of the tables' references.
        own: The digests and ids that came with it: no row had them before.
    """

    rows: dict[str, list[Row]]
    own: frozenset[str]

    def one(self, table: str) -> Row:
        """Return the only row of a table."""
        (row,) = self.rows[table]
        return row

    def number(self, table: str, column: str = "id") -> int:
        """Return a number in the only row of a table."""
        return int(str(self.one(table)[column]))

    def digest(self, table: str) -> str:
        """Return the digest of the manifest in the only row of a table, without its algorithm."""
        return str(self.one(table)["manifest_digest"]).partition(":")[2]

    def only(self, *tables: str) -> "Step":
        """Leave out what is in other tables."""
        return Step({name: self.rows[name] for name in tables}, self.own)

    def joined(self, other: "Step", *tables: str) -> "Step":
        """Add what a later step left in some tables."""
        more = {name: other.rows[name] for name in tables if name in other.rows}
        own = {each for name, rows in more.items() for row in rows for each in _ids_in(name, row)}
        return Step(self.rows | more, self.own | (own & other.own))

    def refreshed(self, now: "Snapshot") -> "Step":
        """Take the rows as they are now."""
        rows = {
            name: [now[name][tuple(row[key.name] for key in metadata.tables[name].primary_key)] for row in rows]
            for name, rows in self.rows.items()
        }
        return Step(rows, self.own)


def look_at(engine: sa.Engine) -> Snapshot:
    """Read all rows of all tables that are copied."""
    found: Snapshot = {}
    with read(engine) as conn:
        for table in metadata.sorted_tables:
            if table.name in DERIVED or table.name.startswith(_LOG):
                continue
            keys = [column.name for column in table.primary_key]
            rows = conn.exec_driver_sql(f'SELECT * FROM "{table.name}"').mappings()
            found[table.name] = {tuple(row[key] for key in keys): _plain(table, row) for row in rows}
    return found


def left_between(before: Snapshot, after: Snapshot) -> Step:
    """Compare what was there with what is there now."""
    rows = {
        name: fresh
        for name, kept in after.items()
        if (fresh := [row for key, row in kept.items() if key not in before.get(name, {})])
    }
    known = {each for name, kept in before.items() for row in kept.values() for each in _ids_in(name, row)}
    own = {each for name, fresh in rows.items() for row in fresh for each in _ids_in(name, row)}
    return Step(rows, frozenset(own - known))


def document_of(table: str, column: str, row: Row) -> bytes | None:
    """Return what a value of bytes holds, as text; None for one that is none."""
    value = row[column]
    if not isinstance(value, bytes):
        return None
    if column == "storage_map":
        manifest = row.get("manifest")
        return unpack_map(value, unpack_document(manifest)) if isinstance(manifest, bytes) else None
    is_envelope = isinstance(metadata.tables[table].c[column].type, EnvelopeColumn)
    raw = value if is_envelope else unpack_document(value)
    try:
        raw.decode()
    except UnicodeDecodeError:
        return None
    return raw


def payload_of(raw: bytes) -> bytes | None:
    """Return what an envelope signs; None for bytes that are no envelope."""
    if not raw.startswith(b'{"payload":"'):
        return None
    return decode_base64(json.loads(raw)["payload"])


def _ids_in(table: str, row: Row) -> Iterator[str]:
    for column, value in row.items():
        if isinstance(value, str):
            yield from HEX.findall(value)
        elif (raw := document_of(table, column, row)) is not None:
            yield from HEX.findall((payload_of(raw) or raw).decode())


def _plain(table: sa.Table, row: sa.RowMapping) -> Row:
    """Give JSON as text and bytes as such, whatever the driver makes of them, and nothing packed beside a text."""
    plain: Row = {}
    for name, value in row.items():
        kind = table.c[name].type
        given = bytes(value) if isinstance(value, memoryview) else value
        if isinstance(kind, EnvelopeColumn) and isinstance(given, bytes):
            given = unpack_envelope(given)
        elif isinstance(kind, PACKED_JSON) and given is not None:
            stored = json.loads(given) if isinstance(given, str) else given
            given = kind.process_result_value(stored, _DIALECT)
            given = list(given) if isinstance(given, Sequence) else given  # checks are unpacked late
        plain[name] = json.dumps(given) if isinstance(given, (dict, list)) else given
    return plain
