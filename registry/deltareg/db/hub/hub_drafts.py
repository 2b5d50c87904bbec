"""Drafts of the Hugging Face Hub's clients, the bytes that they are of, and tickets to send those.

All of it is somebody's (`principal_id`) about a line (`ns/name`, which need not be there yet).
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.hub.rows import DraftRow, StagedRow, TicketRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables.hub import hub_drafts, hub_staged, hub_tickets


def draft(conn: sa.Connection, line: str, principal_id: int, *, lock: bool = False) -> DraftRow | None:
    """Give somebody's draft of a line."""
    query = sa.select(hub_drafts.c.id, hub_drafts.c.changes, hub_drafts.c.touched_at).where(
        hub_drafts.c.line == line, hub_drafts.c.principal_id == principal_id
    )
    rows = fetch_all(conn, query.with_for_update() if lock else query, DraftRow)
    return rows[0] if rows else None


def add_draft(conn: sa.Connection, line: str, principal_id: int) -> None:
    """Begin a draft that changes nothing yet, where there is none."""
    row = {"line": line, "principal_id": principal_id, "changes": "{}", "touched_at": now_us()}
    conn.execute(insert(conn, hub_drafts).values(row).on_conflict_do_nothing())


def keep_draft(conn: sa.Connection, draft_id: int, changes: str) -> None:
    """Write down what a draft changes now."""
    values = {"changes": changes, "touched_at": now_us()}
    conn.execute(sa.update(hub_drafts).where(hub_drafts.c.id == draft_id).values(values))


def end_draft(conn: sa.Connection, draft_id: int) -> None:
    """Forget a draft."""
    conn.execute(sa.delete(hub_drafts).where(hub_drafts.c.id == draft_id))


def add_staged(conn: sa.Connection, line: str, principal_id: int, *, sha256: str, size_bytes: int, key: str) -> int:
    """Write down that an object is about to be sent."""
    row = {
        "line": line,
        "principal_id": principal_id,
        "sha256": sha256,
        "size_bytes": size_bytes,
        "physical_key": key,
        "state": "receiving",
        "touched_at": now_us(),
    }
    added = sa.insert(hub_staged).values(row).returning(hub_staged.c.id)
    return int(conn.execute(added).scalar_one())


def arrive(conn: sa.Connection, staged_id: int) -> bool:
    """Note that an object is whole; False where it was given up meanwhile."""
    is_awaited = sa.and_(hub_staged.c.id == staged_id, hub_staged.c.state == "receiving")
    values = {"state": "here", "touched_at": now_us()}
    return conn.execute(sa.update(hub_staged).where(is_awaited).values(values)).rowcount == 1


def staged_objects(conn: sa.Connection, line: str, principal_id: int, digests: Collection[str]) -> dict[str, StagedRow]:
    """Give, by sha256, the whole objects among those asked for; they are kept from now on."""
    found: dict[str, StagedRow] = {}
    for part in batches(sorted(digests)):
        query = _select_staged().where(
            *_of(line, principal_id), hub_staged.c.state == "here", hub_staged.c.sha256.in_(part)
        )
        found |= {row.sha256: row for row in fetch_all(conn, query, StagedRow)}
    return found


def touch(conn: sa.Connection, rows: Collection[StagedRow]) -> None:
    """Keep objects from being swept for now."""
    for part in batches([row.id for row in rows]):
        touched = sa.update(hub_staged).where(hub_staged.c.id.in_(part))
        conn.execute(touched.values(touched_at=now_us()))


def staged_bytes(conn: sa.Connection, line: str, principal_id: int) -> int:
    """Count the bytes of files that somebody has staged for a line, or is sending."""
    query = sa.select(sa.func.coalesce(sa.func.sum(hub_staged.c.size_bytes), 0))
    return int(conn.execute(query.where(*_of(line, principal_id))).scalar_one())


def give_up_idle(conn: sa.Connection, *, idle_us: int, limit: int) -> Sequence[StagedRow]:
    """Take objects that nobody has touched for so long out of use, and list them.

    A draft that is kept touches what it is of. What was taken before and is still there, because
    who took it died, is listed again. The rows stay until the objects are gone.
    """
    of = hub_staged.c
    is_old = sa.and_(of.area == "", of.touched_at <= now_us() - idle_us)
    old = sa.select(of.id).where(is_old | (of.state == "gone")).order_by(of.id).limit(limit)
    return _give_up(conn, of.id.in_(old))


def give_up(conn: sa.Connection, line: str, principal_id: int, digests: Collection[str]) -> Sequence[StagedRow]:
    """Take whole objects out of use, by sha256, and list them; the rows stay for now."""
    found: list[StagedRow] = []
    for part in batches(sorted(digests)):
        found += _give_up(
            conn, sa.and_(*_of(line, principal_id), hub_staged.c.state == "here", hub_staged.c.sha256.in_(part))
        )
    return found


def _give_up(conn: sa.Connection, which: sa.ColumnElement[bool]) -> Sequence[StagedRow]:
    of = hub_staged.c
    taken = sa.update(hub_staged).where(which).values(state="gone")
    return fetch_all(conn, taken.returning(of.id, of.sha256, of.size_bytes, of.physical_key, of.state), StagedRow)


def end_idle_drafts(conn: sa.Connection, *, idle_us: int) -> None:
    """Forget drafts that nobody has touched for so long, and tickets that have expired."""
    conn.execute(sa.delete(hub_drafts).where(hub_drafts.c.touched_at <= now_us() - idle_us))
    conn.execute(sa.delete(hub_tickets).where(hub_tickets.c.expires_at <= now_us()))


def forget_staged(conn: sa.Connection, ids: Collection[int]) -> None:
    """Drop the rows of objects that are gone."""
    for part in batches(sorted(ids)):
        conn.execute(sa.delete(hub_staged).where(hub_staged.c.id.in_(part)))


def add_ticket(
    conn: sa.Connection, ticket: str, *, line: str, principal_id: int, sha256: str, size_bytes: int, lives_us: int
) -> None:
    """Write down the hash of a ticket, and what it is for."""
    row = {
        "ticket": ticket,
        "line": line,
        "principal_id": principal_id,
        "sha256": sha256,
        "size_bytes": size_bytes,
        "expires_at": now_us() + lives_us,
    }
    conn.execute(sa.insert(hub_tickets).values(row))


def ticket_row(conn: sa.Connection, ticket: str) -> TicketRow | None:
    """Give what a ticket is for, while it lives."""
    of = hub_tickets.c
    query = sa.select(of.line, of.principal_id, of.sha256, of.size_bytes).where(
        of.ticket == ticket, of.expires_at > now_us(), of.area == ""
    )
    rows = fetch_all(conn, query, TicketRow)
    return rows[0] if rows else None


def known_keys(conn: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Give those keys that are of objects here."""
    query = sa.select(hub_staged.c.physical_key).where(hub_staged.c.physical_key.in_(keys))
    return set(conn.execute(query).scalars())


def _select_staged() -> sa.Select[Any, Any, Any, Any, Any]:
    of = hub_staged.c
    return sa.select(of.id, of.sha256, of.size_bytes, of.physical_key, of.state)


def _of(line: str, principal_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Say which rows are of files of somebody for a line; xorbs are their area's."""
    of = hub_staged.c
    return of.line == line, of.principal_id == principal_id, of.area == ""
