"""Areas: what the Hugging Face Hub's clients send by Xet, of one person for one line each.

A client remembers what it sent to an address, and does not send that again. So the name of an area,
which is in the address, is never used for another: with its xorbs it goes, and a new one is made.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.hub.rows import AreaRow, StagedRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables.hub import hub_areas, hub_staged, hub_tickets


def open_area(conn: sa.Connection, line: str, principal_id: int, *, name: str) -> str:
    """Give the name of somebody's area for a line; one of this name is made where there is none."""
    row = {"name": name, "line": line, "principal_id": principal_id, "touched_at": now_us()}
    conn.execute(insert(conn, hub_areas).values(row).on_conflict_do_nothing())
    is_theirs = sa.and_(hub_areas.c.line == line, hub_areas.c.principal_id == principal_id)
    touched = sa.update(hub_areas).where(is_theirs).values(touched_at=now_us())
    return str(conn.execute(touched.returning(hub_areas.c.name)).scalar_one())


def add_area_ticket(
    conn: sa.Connection, ticket: str, *, area: str, line: str, principal_id: int, lives_us: int
) -> None:
    """Write down the hash of a ticket to send to an area."""
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
    """Give the area of a name, if the ticket lives and is of it."""
    of, tickets = hub_areas.c, hub_tickets.c
    query = (
        sa.select(of.id, of.name, of.line, of.principal_id)
        .join(hub_tickets, tickets.area == of.name)
        .where(of.name == name, tickets.ticket == ticket, tickets.expires_at > now_us())
    )
    rows = fetch_all(conn, query, AreaRow)
    return rows[0] if rows else None


def touch_area(conn: sa.Connection, area_id: int) -> bool:
    """Keep an area, and lock it; False where it has ended."""
    touched = sa.update(hub_areas).where(hub_areas.c.id == area_id).values(touched_at=now_us())
    return conn.execute(touched).rowcount == 1


def area_holds(conn: sa.Connection, area: str) -> tuple[int, int]:
    """Count the xorbs of an area, those on their way too, and their bytes."""
    of = hub_staged.c
    total = sa.func.coalesce(sa.func.sum(of.size_bytes), 0)
    row = conn.execute(sa.select(sa.func.count(), total).where(of.area == area)).one()
    return int(row[0]), int(row[1])


def add_xorb(conn: sa.Connection, area: AreaRow, *, name: str, size_bytes: int, key: str) -> int:
    """Write down that a xorb is about to be sent."""
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
    """Give the whole xorbs of an area by name; of two of a name that which was sent last."""
    query = _select_staged().where(hub_staged.c.area == area, hub_staged.c.state == "here")
    return {row.sha256: row for row in fetch_all(conn, query.order_by(hub_staged.c.id), StagedRow)}


def end_area(conn: sa.Connection, line: str, principal_id: int) -> Sequence[StagedRow]:
    """End somebody's area for a line, and list its xorbs; their rows stay for now."""
    is_theirs = sa.and_(hub_areas.c.line == line, hub_areas.c.principal_id == principal_id)
    return _end(conn, is_theirs)


def end_idle_areas(conn: sa.Connection, *, idle_us: int) -> Sequence[StagedRow]:
    """End areas that nobody has sent to for so long, and list their xorbs; the rows stay."""
    return _end(conn, hub_areas.c.touched_at <= now_us() - idle_us)


def _end(conn: sa.Connection, which: sa.ColumnElement[bool]) -> Sequence[StagedRow]:
    found: list[StagedRow] = []
    ended = conn.execute(sa.delete(hub_areas).where(which).returning(hub_areas.c.name)).scalars()
    for name in ended.all():
        conn.execute(sa.delete(hub_tickets).where(hub_tickets.c.area == name))
        taken = sa.update(hub_staged).where(hub_staged.c.area == name).values(state="gone")
        of = hub_staged.c
        columns = (of.id, of.sha256, of.size_bytes, of.physical_key, of.state)
        found += fetch_all(conn, taken.returning(*columns), StagedRow)
    return found


def _select_staged() -> sa.Select[*tuple[Any, ...]]:
    of = hub_staged.c
    return sa.select(of.id, of.sha256, of.size_bytes, of.physical_key, of.state)
