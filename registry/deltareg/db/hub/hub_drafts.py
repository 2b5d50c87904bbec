"""Drafts of the Hugging Face Hub's clients, their uploaded objects, and tickets for uploads.

Everything belongs to a principal (`principal_id`) and a line (`ns/name`, which may not exist yet).
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.hub.rows import DraftRow, StagedRow, TicketRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables.hub import hub_drafts, hub_staged, hub_tickets
from deltareg.db.tables.principals import principals


def draft(conn: sa.Connection, line: str, principal_id: int, *, lock: bool = False) -> DraftRow | None:
    """Return a principal's draft of a line."""
    query = sa.select(hub_drafts.c.id, hub_drafts.c.changes, hub_drafts.c.touched_at).where(
        hub_drafts.c.line == line, hub_drafts.c.principal_id == principal_id
    )
    rows = fetch_all(conn, query.with_for_update() if lock else query, DraftRow)
    return rows[0] if rows else None


def add_draft(conn: sa.Connection, line: str, principal_id: int) -> None:
    """Create an empty draft unless there is one."""
    row = {"line": line, "principal_id": principal_id, "changes": "{}", "touched_at": now_us()}
    conn.execute(insert(conn, hub_drafts).values(row).on_conflict_do_nothing())


def keep_draft(conn: sa.Connection, draft_id: int, changes: str) -> None:
    """Store the changes of a draft."""
    values = {"changes": changes, "touched_at": now_us()}
    conn.execute(sa.update(hub_drafts).where(hub_drafts.c.id == draft_id).values(values))


def end_draft(conn: sa.Connection, draft_id: int) -> None:
    """Delete a draft."""
    conn.execute(sa.delete(hub_drafts).where(hub_drafts.c.id == draft_id))


def add_staged(conn: sa.Connection, line: str, principal_id: int, *, sha256: str, size_bytes: int, key: str) -> int:
    """Register an object before it is sent; return its row id."""
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
    """Record that an object arrived completely; return False if it was given up meanwhile."""
    is_awaited = sa.and_(hub_staged.c.id == staged_id, hub_staged.c.state == "receiving")
    values = {"state": "here", "touched_at": now_us()}
    return conn.execute(sa.update(hub_staged).where(is_awaited).values(values)).rowcount == 1


def staged_objects(conn: sa.Connection, line: str, principal_id: int, digests: Collection[str]) -> dict[str, StagedRow]:
    """Return the complete objects of the given sha256 digests, and keep them from being swept."""
    objects: dict[str, StagedRow] = {}
    for part in batches(sorted(digests)):
        query = _select_staged().where(
            *_of(line, principal_id), hub_staged.c.state == "here", hub_staged.c.sha256.in_(part)
        )
        objects |= {row.sha256: row for row in fetch_all(conn, query, StagedRow)}
    return objects


def touch(conn: sa.Connection, rows: Collection[StagedRow]) -> None:
    """Keep objects from being swept for now."""
    for part in batches([row.id for row in rows]):
        touched = sa.update(hub_staged).where(hub_staged.c.id.in_(part))
        conn.execute(touched.values(touched_at=now_us()))


def staged_bytes(conn: sa.Connection, line: str, principal_id: int) -> int:
    """Sum the bytes of the files that a principal staged for a line or is sending."""
    query = sa.select(sa.func.coalesce(sa.func.sum(hub_staged.c.size_bytes), 0))
    return int(conn.execute(query.where(*_of(line, principal_id))).scalar_one())


def give_up_idle(conn: sa.Connection, *, idle_us: int, limit: int) -> Sequence[StagedRow]:
    """Retire objects that have been idle for so long, and list them.

    Storing a draft touches its objects. Objects that were retired earlier but still exist, because
    that process died, are listed again. The rows stay until the objects are deleted.
    """
    staged = hub_staged.c
    is_old = sa.and_(staged.area == "", staged.touched_at <= now_us() - idle_us)
    old = sa.select(staged.id).where(is_old | (staged.state == "gone")).order_by(staged.id).limit(limit)
    return _give_up(conn, staged.id.in_(old))


def give_up(conn: sa.Connection, line: str, principal_id: int, digests: Collection[str]) -> Sequence[StagedRow]:
    """Retire complete objects by sha256 and list them; the rows stay for now."""
    rows: list[StagedRow] = []
    for part in batches(sorted(digests)):
        rows += _give_up(
            conn, sa.and_(*_of(line, principal_id), hub_staged.c.state == "here", hub_staged.c.sha256.in_(part))
        )
    return rows


def _give_up(conn: sa.Connection, which: sa.ColumnElement[bool]) -> Sequence[StagedRow]:
    staged = hub_staged.c
    update = sa.update(hub_staged).where(which).values(state="gone")
    return fetch_all(
        conn,
        update.returning(staged.id, staged.sha256, staged.size_bytes, staged.physical_key, staged.state),
        StagedRow,
    )


def end_idle_drafts(conn: sa.Connection, *, idle_us: int) -> None:
    """Delete drafts that have been idle for so long, and expired tickets."""
    conn.execute(sa.delete(hub_drafts).where(hub_drafts.c.touched_at <= now_us() - idle_us))
    conn.execute(sa.delete(hub_tickets).where(hub_tickets.c.expires_at <= now_us()))


def forget_staged(conn: sa.Connection, ids: Collection[int]) -> None:
    """Delete the rows of objects that are gone."""
    for part in batches(sorted(ids)):
        conn.execute(sa.delete(hub_staged).where(hub_staged.c.id.in_(part)))


def add_ticket(
    conn: sa.Connection, ticket: str, *, line: str, principal_id: int, sha256: str, size_bytes: int, lives_us: int
) -> None:
    """Store the hash of a ticket, and the file that it is for."""
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
    """Return the file that a ticket is for, unless it has expired."""
    tickets = hub_tickets.c
    query = (
        sa.select(tickets.line, tickets.principal_id, tickets.sha256, tickets.size_bytes)
        .join(principals, principals.c.id == tickets.principal_id)
        .where(
            tickets.ticket == ticket,
            tickets.expires_at > now_us(),
            tickets.area == "",
            principals.c.disabled_at.is_(None),
        )
    )
    rows = fetch_all(conn, query, TicketRow)
    return rows[0] if rows else None


def known_keys(conn: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Return which of some keys belong to staged objects."""
    query = sa.select(hub_staged.c.physical_key).where(hub_staged.c.physical_key.in_(keys))
    return set(conn.execute(query).scalars())


def _select_staged() -> sa.Select[Any, Any, Any, Any, Any]:
    staged = hub_staged.c
    return sa.select(staged.id, staged.sha256, staged.size_bytes, staged.physical_key, staged.state)


def _of(line: str, principal_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the condition for a principal's files of a line; xorbs belong to an area instead."""
    staged = hub_staged.c
    return staged.line == line, staged.principal_id == principal_id, staged.area == ""
