"""Writing anew what a release before stored at length: signed envelopes, and the checks of verdicts.

It is no part of a migration, as a server of the release before cannot read what is packed: run it
once none is left. It works in batches, each its own transaction, beside running servers; writers of
a table wait for the batch, readers for nothing. It may be killed and run again.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltareg.db.session import create_engine, read, write
from deltareg.db.sql.envelope import pack_envelope
from deltareg.db.sql.known_text import is_packed
from deltareg.db.sql.packed_json import pack_checks, pack_object
from deltareg.db.sql.written_form import NEWEST
from deltareg.db.tables import metadata
from deltareg.db.upkeep.servers import written_form
from deltareg.documents.json_values import is_list
from deltareg.errors import Misconfigured
from deltareg_migrations.packed import ENVELOPES, rewriting
from deltareg_migrations.schema import current, newest_revision

ROWS = 1_000
"""How many rows a batch looks at."""


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was written anew: rows of a table, and what they took before and after, bytes."""

    table: str
    rows: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class _Packed:
    """Columns that are packed, each by a function of the value that its row has."""

    table: str
    key: str
    columns: dict[str, Callable[[Any], object]]


def pack(url: str | sa.URL) -> Iterator[PackReport]:
    """Pack what is not packed yet; yield a report for each table once it is done.

    Raises:
        Misconfigured: The database is not at the newest revision, or nothing is to be packed yet.
        Unavailable: The database cannot answer now.
    """
    if current(url) != newest_revision():
        raise Misconfigured("the schema is not the newest one", fix="deltareg-migrate upgrade")
    engine = create_engine(url, connections=3)
    try:
        with read(engine) as conn:
            if written_form(conn) < NEWEST:
                raise Misconfigured("servers of the release before may be there", fix="deltareg-migrate finish")
        for table, key in ENVELOPES.items():
            yield _pack_table(engine, _Packed(table, key, {"body": pack_envelope}))
        yield _pack_table(engine, _Packed("verdicts", "id", {"checks": pack_checks, "environment": pack_object}))
    finally:
        engine.dispose()


def _pack_table(engine: sa.Engine, packed: _Packed) -> PackReport:
    rows, before, after = 0, 0, 0
    last: object = None
    while True:
        with read(engine) as conn:
            page = _page(conn, packed, last)
        if not page:
            return PackReport(packed.table, rows, before, after)
        last = page[-1][0]
        changed = [(row_id, found, made) for row_id, *found in page if (made := _pack_row(packed, found)) != found]
        if changed:
            with write(engine) as conn, rewriting(conn, packed.table):
                conn.execute(_update(packed), [_parameters(packed, row_id, made) for row_id, _, made in changed])
        rows += len(changed)
        before += sum(_size(value) for _, found, _ in changed for value in found)
        after += sum(_size(value) for _, _, made in changed for value in made)


def _page(conn: sa.Connection, packed: _Packed, last: object) -> Sequence[Sequence[Any]]:
    """Return the next rows as they are stored, by their key."""
    table = _as_stored(packed)
    query = sa.select(table.c[packed.key], *(table.c[name] for name in packed.columns))
    query = query.order_by(table.c[packed.key]).limit(ROWS)
    return conn.execute(query if last is None else query.where(table.c[packed.key] > last)).all()


def _pack_row(packed: _Packed, found: Sequence[Any]) -> list[object]:
    return [
        value if _is_packed(value) else pack_value(value)
        for pack_value, value in zip(packed.columns.values(), found, strict=True)
    ]


def _is_packed(value: object) -> bool:
    if isinstance(value, bytes):
        return is_packed(value)
    last = value[-1] if is_list(value) and value else value
    return isinstance(last, dict) and last.keys() == {"packed"}


def _update(packed: _Packed) -> sa.Update:
    table = _as_stored(packed)
    values = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in packed.columns}
    return sa.update(table).where(table.c[packed.key] == sa.bindparam("row_key")).values(**values)


def _parameters(packed: _Packed, row_id: object, made: Sequence[object]) -> dict[str, object]:
    return {"row_key": row_id} | {f"new_{name}": value for name, value in zip(packed.columns, made, strict=True)}


def _as_stored(packed: _Packed) -> sa.TableClause:
    """Describe a table with its columns as they are stored."""
    types: dict[str, sa.types.TypeEngine[Any]] = {
        "body": sa.LargeBinary(),
        "checks": sa.JSON(),
        "environment": sa.JSON(),
    }
    key = metadata.tables[packed.table].c[packed.key]
    return sa.table(
        packed.table, sa.column(packed.key, key.type), *(sa.column(name, types[name]) for name in packed.columns)
    )


def _size(value: object) -> int:
    return len(value) if isinstance(value, bytes) else len(json.dumps(value))
