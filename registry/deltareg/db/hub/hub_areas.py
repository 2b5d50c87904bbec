"""Areas: what clients of the Hugging Face Hub upload by Xet, one for each person and line.

A client remembers what it sent to an address and does not send it again. The address contains the
area's name, so a name is never reused: it ends with its xorbs, and a new area gets a new name.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.hub.rows import AreaRow, StagedRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables.hub import hub_areas, hub_staged, hub_tickets
from deltareg.db.tables.principals import principals


def open_area(conn: sa.Connection, line: str, principal_id: int, *, name: str) -> str:
    """Return the name of a principal's area for a line; create it under `name` if missing."""
    row = {"name": name, "line": line, "principal_id": principal_id, "touched_at": now_us()}
    conn.execute(insert(conn, hub_areas).values(row).on_conflict_do_nothing())
    is_theirs = sa.and_(hub_areas.c.line == line, hub_areas.c.principal_id == principal_id)
    touched = sa.update(hub_areas).where(is_theirs).values(touched_at=now_us())
    return str(conn.execute(touched.returning(hub_areas.c.name)).scalar_one())


def open_areas(conn: sa.Connection, principal_id: int) -> int:
    """Count the areas that a principal has open."""
    query = sa.select(sa.func.count()).select_from(hub_areas).where(hub_areas.c.principal_id == principal_id)
    return int(conn.execute(query).scalar_one())


def add_area_ticket(
    conn: sa.Connection, ticket: str, *, area: str, line: str, principal_id: int, lives_us: int
) -> None:
    """Store the hash of a ticket that allows uploads to an area."""
    row = {
        "ticket": ticket,
        "line": line,
        "principal_id": principal_id,
        "sha256": "",
        "size_bytes": 0,
        "expires_at": now_us() + lives_us,
        "area": area,
    }
    conn.execute(sa.insert(hub_tickets).values(row))


def area_of_ticket(conn: sa.Connection, ticket: str, *, name: str) -> AreaRow | None:
    """Return the area of the given name, if the ticket is valid for it."""
    areas, tickets = hub_areas.c, hub_tickets.c
    query = (
        sa.select(areas.id, areas.name, areas.line, areas.principal_id)
        .join(hub_tickets, tickets.area == areas.name)
        .join(principals, principals.c.id == tickets.principal_id)
        .where(
            areas.name == name,
            tickets.ticket == ticket,
            tickets.expires_at > now_us(),
            principals.c.disabled_at.is_(None),
        )
    )
    rows = fetch_all(conn, query, AreaRow)
    return rows[0] if rows else None


def touch_area(conn: sa.Connection, area_id: int) -> bool:
    """Refresh and lock an area; return False if it has ended."""
    touched = sa.update(hub_areas).where(hub_areas.c.id == area_id).values(touched_at=now_us())
    return conn.execute(touched).rowcount == 1


def area_holds(conn: sa.Connection, area: str) -> tuple[int, int]:
    """Count the xorbs of an area, including those in transit, and their bytes."""
    staged = hub_staged.c
    total = sa.func.coalesce(sa.func.sum(staged.size_bytes), 0)
    row = conn.execute(sa.select(sa.func.count(), total).where(staged.area == area)).one()
    return int(row[0]), int(row[1])


def add_xorb(conn: sa.Connection, area: AreaRow, *, name: str, size_bytes: int, key: str) -> int:
    """Register a xorb before it is sent; return its row id."""
    row = {
        "line": area.line,
        "principal_id": area.principal_id,
        "sha256": name,
        "area": area.name,
        "size_bytes": size_bytes,
        "physical_key": key,
        "state": "receiving",
        "touched_at": now_us(),
    }
    added = sa.insert(hub_staged).values(row).returning(hub_staged.c.id)
    return int(conn.execute(added).scalar_one())


def xorbs(conn: sa.Connection, area: str) -> dict[str, StagedRow]:
    """Return the complete xorbs of an area by name; of equal names the one sent last."""
    query = _select_staged().where(hub_staged.c.area == area, hub_staged.c.state == "here")
    return {row.sha256: row for row in fetch_all(conn, query.order_by(hub_staged.c.id), StagedRow)}


def end_area(conn: sa.Connection, line: str, principal_id: int) -> Sequence[StagedRow]:
    """End a principal's area for a line and list its xorbs, whose rows stay for now."""
    is_theirs = sa.and_(hub_areas.c.line == line, hub_areas.c.principal_id == principal_id)
    return _end(conn, is_theirs)


def end_idle_areas(conn: sa.Connection, *, idle_us: int) -> Sequence[StagedRow]:
    """End areas that have been idle for so long and list their xorbs, whose rows stay for now."""
    return _end(conn, hub_areas.c.touched_at <= now_us() - idle_us)


def _end(conn: sa.Connection, which: sa.ColumnElement[bool]) -> Sequence[StagedRow]:
    rows: list[StagedRow] = []
    names = conn.execute(sa.delete(hub_areas).where(which).returning(hub_areas.c.name)).scalars()
    for name in names.all():
        conn.execute(sa.delete(hub_tickets).where(hub_tickets.c.area == name))
        update = sa.update(hub_staged).where(hub_staged.c.area == name).values(state="gone")
        staged = hub_staged.c
        columns = (staged.id, staged.sha256, staged.size_bytes, staged.physical_key, staged.state)
        rows += fetch_all(conn, update.returning(*columns), StagedRow)
    return rows


def _select_staged() -> sa.Select[*tuple[Any, ...]]:
    staged = hub_staged.c
    return sa.select(staged.id, staged.sha256, staged.size_bytes, staged.physical_key, staged.state)
