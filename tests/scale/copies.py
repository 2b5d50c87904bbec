"""Copies of a step's rows: with other digests, ids, names, numbers and times, otherwise as they were.

A step is compiled once into cells; making a copy only runs the cells of what differs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeEngine

from deltareg.db.sql.document import DocumentColumn, pack_document, pack_map
from deltareg.db.sql.envelope import pack_envelope
from deltareg.db.tables import metadata
from deltareg.signing.envelopes import seal, signer_of
from deltareg.signing.keys import SigningKey
from deltareg.signing.statement import PAYLOAD_TYPE
from tests.scale.patterns import Cell, Copy, Named, Numbers, Pattern
from tests.scale.snapshot import PACKED_JSON, Row, Step, document_of, payload_of

_DAY_US = 86_400_000_000
_MARKS = 1 << 63
_DRAWN = {("weight_marks", "mark"), ("offer_marks", "mark")}
_MOMENTS = ("created_at", "seen_at", "since")


@dataclass(frozen=True)
class _Compiled:
    table: str
    columns: tuple[str, ...]
    fixed: tuple[object, ...]
    cells: tuple[tuple[int, Cell], ...]

    def make(self, copy: Copy) -> tuple[object, ...]:
        values = list(self.fixed)
        for place, cell in self.cells:
            values[place] = cell(copy)
        return tuple(values)


class CopiedStep:
    """A step that rows are copied from."""

    def __init__(
        self,
        step: Step,
        keys: Mapping[str, SigningKey],
        *,
        shared: frozenset[str] = frozenset(),
        numbers: Numbers | None = None,
        overrides: Mapping[tuple[str, str], Cell] | None = None,
    ):
        """Compile it.

        Args:
            step: The rows.
            keys: The keys that signed them, by keyid: copies are signed anew.
            shared: Digests of others that differ from copy to copy as well: those of a base.
            numbers: Which version and revision it is about; by default its own.
            overrides: What stands in a column, by table and column.
        """
        self._keys, self._own, self._overrides = keys, step.own | shared, overrides or {}
        own_number = step.number("versions", "number") if "versions" in step.rows else 1
        self._numbers = numbers or Numbers(own_number)
        moments = [row.get(name) for rows in step.rows.values() for row in rows for name in _MOMENTS]
        self.began_us = min(value for value in moments if isinstance(value, int))
        self.fresh = [
            (name, int(str(row["id"])))
            for name, rows in step.rows.items()
            for row in rows
            if isinstance(row.get("id"), int)
        ]
        self._manifest: Pattern | None = None
        self._manifest_hex = ""
        for name in {"versions", "bases"} & step.rows.keys():
            raw = document_of(name, "manifest", step.one(name))
            assert raw is not None, f"{name} without a manifest"
            self._manifest = Pattern(raw.decode(), self._own, self._numbers)
            self._manifest_hex = step.digest(name)
        self.objects = [str(row["physical_key"]) for row in step.rows.get("packs", [])]
        self._rows = [self._compile(name, row) for name, rows in step.rows.items() for row in rows]

    def rows(self, copy: Copy) -> Iterator[tuple[str, tuple[str, ...], tuple[object, ...]]]:
        """Yield table, columns and values of each row of a copy."""
        if self._manifest is not None:
            copy.manifest = self._manifest.fill(copy).encode()
            copy.words[self._manifest_hex] = sha256(copy.manifest).hexdigest()
        for row in self._rows:
            yield row.table, row.columns, row.make(copy)

    def _compile(self, table: str, row: Row) -> _Compiled:
        cells = [(place, self._cell(table, column, row)) for place, column in enumerate(row)]
        return _Compiled(
            table, tuple(row), tuple(row.values()), tuple((place, cell) for place, cell in cells if cell is not None)
        )

    def _cell(self, table: str, column: str, row: Row) -> Cell | None:
        """Return what makes a value; None where it is the same in every copy."""
        value = row[column]
        if (table, column) in self._overrides:
            return self._overrides[table, column]
        if isinstance(kind := metadata.tables[table].c[column].type, PACKED_JSON) and isinstance(value, str):
            return _packed_json(kind, value, self._filled(value))
        if isinstance(value, str):
            filled = self._filled(value)
            return _dedup_key(value, row, filled) if (table, column) == ("runs", "dedup_key") else filled
        if isinstance(value, bytes):
            return self._cell_of_bytes(table, column, row)
        return None if value is None or isinstance(value, bool) else self._cell_of_number(table, column, row)

    def _cell_of_number(self, table: str, column: str, row: Row) -> Cell | None:
        value, what = row[column], f"{row}"
        if isinstance(value, float):
            return lambda copy: round(value * (0.5 + copy.share(what)), 4)
        assert isinstance(value, int), f"{table}.{column} is a {type(value)}"
        if (table, column) in _DRAWN:
            return lambda copy: int(copy.share(what) * _MARKS)
        if (table, column) == ("offer_marks", "offer_id"):  # it refers to none, so that an offer goes at once
            return lambda copy: copy.ids.get(("offers", value), value)
        if (named := _target(metadata.tables[table].c[column], value)) is not None:
            return lambda copy: copy.ids.get(named, value)
        return (lambda copy: value + copy.shift_us) if abs(value - self.began_us) < _DAY_US else None

    def _cell_of_bytes(self, table: str, column: str, row: Row) -> Cell | None:
        if column == "manifest" and self._manifest is not None and table in {"versions", "bases"}:
            return lambda copy: pack_document(copy.manifest)
        raw = document_of(table, column, row)
        payload = None if raw is None else payload_of(raw)
        filled = None if raw is None else self._filled((payload or raw).decode())
        if raw is None or filled is None:
            return None
        if payload is not None:
            key = self._keys[signer_of(raw)]
            return lambda copy: pack_envelope(seal(str(filled(copy)).encode(), key, payload_type=PAYLOAD_TYPE))
        if column == "storage_map":
            return lambda copy: pack_map(str(filled(copy)).encode(), copy.manifest)
        kind = metadata.tables[table].c[column].type
        if isinstance(kind, DocumentColumn):
            return lambda copy: pack_document(str(filled(copy)).encode(), is_quick=kind.is_quick)
        return lambda copy: str(filled(copy)).encode()

    def _filled(self, text: str) -> Cell | None:
        """Return what fills a text; None where nothing in it differs."""
        pattern = Pattern(text, self._own, self._numbers)
        return None if pattern.is_constant else pattern.fill


def _packed_json(kind: TypeEngine[Any], text: str, filled: Cell | None) -> Cell:
    """Return what packs a text of JSON as its column does."""
    assert isinstance(kind, PACKED_JSON)
    dialect = DefaultDialect()

    def pack(text: object) -> str:
        return json.dumps(kind.process_bind_param(json.loads(str(text)), dialect))

    packed = pack(text)
    return (lambda _: packed) if filled is None else (lambda copy: pack(filled(copy)))


def _dedup_key(key: str, row: Row, filled: Cell | None) -> Cell | None:
    """Put the row's version or base where its id stands in the key of a run."""
    table, old = ("versions", row["version_id"]) if row["version_id"] is not None else ("bases", row["base_id"])
    if not isinstance(old, int) or str(old) not in key.split(":"):
        return filled

    def fill(copy: Copy) -> str:
        new = str(copy.ids.get((table, old), old))
        text = key if filled is None else str(filled(copy))
        return ":".join(new if part == str(old) else part for part in text.split(":"))

    return fill


def _target(column: sa.Column[object], value: int) -> Named | None:
    """Return the row that a number means: one of its own table, or the one that it refers to."""
    if column.name == "id" and column.primary_key:
        return column.table.name, value
    for reference in column.foreign_keys:
        if reference.column.name == "id":
            return reference.column.table.name, value
        return _target(reference.column, value)
    return None
