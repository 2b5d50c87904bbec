"""Collection: which versions may release their packs, and the steps of protocol D.

Mark, recheck under a lock, delete the object, drop the row if key and state are unchanged. In READ
COMMITTED a statement that waited for a row lock still sees other tables as they were before it
waited; therefore one statement always locks the rows and the next looks at their references.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.bases.stacks import holding_stacked, release_base
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches
from deltareg.db.storage.forms import let_go
from deltareg.db.storage.offers import withdraw, withdraw_from_packs
from deltareg.db.storage.rows import LeftoverRow, MarkedPackRow, PackSizeRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import lineage, packs, piece_packs, pieces, runs, upload_packs, uploads, version_packs, versions
from deltareg.db.tables.packs import UNADOPTED
from deltareg.db.tables.runs import ACTIVE
from deltareg.db.upkeep.holds import is_held
from deltareg.db.upkeep.pins import PinWindow, is_pinned, pins
from deltareg.db.upkeep.released import IS_LEFT, IS_UNREFERENCED
from deltareg.db.upkeep.rows import StrandedRow

IS_CLOSED = uploads.c.state != "open"
_Select = sa.Select[*tuple[Any, ...]]


def releasable(
    conn: sa.Connection, *, grace_us: int, window: PinWindow, most: int, before: int | None = None
) -> tuple[list[int], int | None]:
    """Look at deleted versions that still hold packs, the youngest first; list those that no channel pins.

    Args:
        conn: A transaction.
        grace_us: The least time since a version's deletion.
        window: How long channels pin what they served.
        most: How many are looked at.
        before: Only versions that are older than this one are.

    Returns:
        The versions, and the oldest that was looked at; None if there was none.
    """
    waiting = sa.select(versions.c.id).where(waits(versions), versions.c.deleted_at <= now_us() - grace_us)
    if before is not None:
        waiting = waiting.where(versions.c.id < before)
    looked_at = list(conn.execute(waiting.order_by(versions.c.id.desc()).limit(most)).scalars())
    other = versions.alias()
    lines = sa.select(other.c.delta_id).where(other.c.id.in_(looked_at))
    query = sa.select(versions.c.id).where(versions.c.id.in_(looked_at), ~is_pinned(window, lines=lines))
    return list(conn.execute(query).scalars()), looked_at[-1] if looked_at else None


def waits(of: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a version is deleted and still holds packs."""
    return sa.and_(of.c.deleted_at.is_not(None), of.c.released_at.is_(None))


def holding_children(conn: sa.Connection, version_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return, by parent, the versions made from it or on top of it that still hold their packs."""
    children = holding_stacked(conn, version_ids)
    for part in batches(sorted(set(version_ids))):
        query = (
            sa.select(lineage.c.parent_version_id, lineage.c.version_id)
            .join(versions, versions.c.id == lineage.c.version_id)
            .where(lineage.c.parent_version_id.in_(part), versions.c.released_at.is_(None))
        )
        for parent, child in conn.execute(query):
            children.setdefault(parent, []).append(child)
    return children


def release(conn: sa.Connection, version_id: int, *, window: PinWindow) -> bool:
    """Release the packs of a deleted version; return False if something needs them after all."""
    locked = (
        sa.select(versions.c.id)
        .where(versions.c.id == version_id, versions.c.deleted_at.is_not(None), versions.c.released_at.is_(None))
        .with_for_update()
    )
    if conn.execute(locked).first() is None:
        return False
    if pins(conn, version_id, window=window) or holding_children(conn, [version_id]):
        return False
    conn.execute(sa.delete(version_packs).where(version_packs.c.version_id == version_id))
    let_go(conn, version_id)
    withdraw(conn, [PackHolder(version_id)])
    release_base(conn, version_id)
    _cancel_reading(conn, version_id)
    conn.execute(sa.update(versions).where(versions.c.id == version_id).values(released_at=now_us()))
    return True


def _cancel_reading(conn: sa.Connection, version_id: int) -> None:
    """Cancel the runs that read a version's packs, which would die of their absence."""
    reading = (runs.c.version_id == version_id, runs.c.what.in_(["prove", "reencode"]), ACTIVE)
    gone = {
        "state": "cancelled",
        "finished_at": now_us(),
        "error": "the version was deleted, and its packs are released",
    }
    conn.execute(sa.update(runs).where(*reading).values(gone))


def expire_uploads(conn: sa.Connection, *, idle_us: int) -> int:
    """Close uploads that have been idle for so long."""
    # One that somebody has locked is not idle; to wait for it, with the counts of others held, might block both.
    idle = sa.select(uploads.c.id).where(is_idle(idle_us)).order_by(uploads.c.id).with_for_update(skip_locked=True)
    ids = list(conn.execute(idle).scalars())
    for part in batches(ids):
        conn.execute(sa.update(uploads).where(uploads.c.id.in_(part)).values(state="expired", manifest=None))
    return len(ids)


def drop_manifests(conn: sa.Connection) -> None:
    """Drop the manifests that an earlier release left with closed uploads."""
    has_leftover = sa.and_(uploads.c.state != "open", uploads.c.manifest.is_not(None))
    conn.execute(sa.update(uploads).where(has_leftover).values(manifest=None))


def leftovers(conn: sa.Connection, *, after: int, limit: int) -> Sequence[LeftoverRow]:
    """List the keys that closed uploads wrote, or may have written, and that no pack uses.

    A closed upload never adopts a key any more, so these keys are garbage for good. While a backup
    runs there are none.
    """
    if is_held(conn):
        return []
    query = sa.select(upload_packs.c.id, upload_packs.c.physical_key).where(IS_CLOSED)
    return fetch_all(conn, _filter_leftovers(query, after=after, limit=limit), LeftoverRow)


def stranded_packs(
    conn: sa.Connection, *, after: int, limit: int, grace_us: int, least_us: int
) -> Sequence[StrandedRow]:
    """List what `leftovers` lists, and the same of uploads that have been idle for `least_us`.

    Args:
        conn: A transaction.
        after: List rows after this one.
        limit: How many at most.
        grace_us: The idle time after which a collection closes an upload.
        least_us: The shortest idle time that counts at all; at most `grace_us`.
    """
    is_due = sa.or_(IS_CLOSED, is_idle(grace_us)).label("is_due")
    query = sa.select(upload_packs.c.id, upload_packs.c.physical_key, is_due)
    query = query.where(sa.or_(IS_CLOSED, is_idle(least_us)))
    return fetch_all(conn, _filter_leftovers(query, after=after, limit=limit), StrandedRow)


def _filter_leftovers(query: _Select, *, after: int, limit: int) -> _Select:
    return (
        query.join(uploads, uploads.c.id == upload_packs.c.upload_id)
        .where(
            UNADOPTED,
            ~sa.exists().where(packs.c.physical_key == upload_packs.c.physical_key),
            upload_packs.c.id > after,
        )
        .order_by(upload_packs.c.id)
        .limit(limit)
    )


def forget_leftovers(conn: sa.Connection, ids: Sequence[int], *, quiet_us: int) -> None:
    """Record that objects were deleted, and drop the rows of uploads that were closed long ago.

    Other rows stay for a while, and each collection deletes their keys again, in case a stalled
    process still writes to them.
    """
    quiet = sa.select(uploads.c.id).where(
        uploads.c.id == upload_packs.c.upload_id, uploads.c.touched_at <= now_us() - quiet_us
    )
    conn.execute(sa.delete(upload_packs).where(upload_packs.c.id.in_(ids), sa.exists(quiet)))
    conn.execute(sa.update(upload_packs).where(upload_packs.c.id.in_(ids)).values(state="dropped"))


def unreferenced_packs(conn: sa.Connection, *, after: int, limit: int) -> Sequence[PackSizeRow]:
    """List live packs that no version and no base needs."""
    query = (
        sa.select(packs.c.id, packs.c.size_bytes)
        .where(packs.c.state == "live", packs.c.id > after, IS_LEFT)
        .order_by(packs.c.id)
        .limit(limit)
    )
    return fetch_all(conn, query, PackSizeRow)


def mark_deleting(conn: sa.Connection, pack_ids: Sequence[int]) -> list[int]:
    """Mark packs that nothing needs, so that no push relies on them; return the marked ones.

    Packs that a push has locked are skipped. From here on nobody uses the key any more: a push of
    the same bytes writes a new one.
    """
    free = _lock_unreferenced(conn, pack_ids, state="live")
    forget_pieces(conn, free)
    conn.execute(sa.update(packs).where(packs.c.id.in_(free)).values(state="deleting"))
    return free


def deleting(conn: sa.Connection, *, after: int, limit: int) -> Sequence[MarkedPackRow]:
    """List marked packs, whichever process marked them."""
    query = (
        sa.select(packs.c.id, packs.c.physical_key, packs.c.size_bytes)
        .where(packs.c.state == "deleting", packs.c.id > after)
        .order_by(packs.c.id)
        .limit(limit)
    )
    return fetch_all(conn, query, MarkedPackRow)


def recheck(conn: sa.Connection, marked: Sequence[MarkedPackRow]) -> list[MarkedPackRow]:
    """Return the rows of `deleting` that are still marked, under the same key, and not needed.

    None while a backup runs. One that begins after this look has a snapshot in which these packs
    are marked already, and never asks for them.
    """
    if is_held(conn):
        return []
    free = set(_lock_unreferenced(conn, [row.id for row in marked], state="deleting"))
    query = sa.select(packs.c.id, packs.c.physical_key).where(packs.c.id.in_(free))
    keys = {row.id: row.physical_key for row in conn.execute(query)}
    return [row for row in marked if keys.get(row.id) == row.physical_key]


def drop_pack(conn: sa.Connection, pack_id: int, *, physical_key: str) -> bool:
    """Drop the row of a pack whose object is gone; return False if a push revived it meanwhile."""
    dropped = sa.delete(packs).where(
        packs.c.id == pack_id, packs.c.physical_key == physical_key, packs.c.state == "deleting"
    )
    return conn.execute(dropped).rowcount == 1


def forget_pieces(conn: sa.Connection, pack_ids: Sequence[int]) -> None:
    """Forget the pieces that lie in some packs, even if they lie in other packs as well."""
    withdraw_from_packs(conn, pack_ids)
    piece_ids = sa.select(piece_packs.c.piece_id).where(piece_packs.c.pack_id.in_(pack_ids))
    conn.execute(sa.delete(pieces).where(pieces.c.id.in_(piece_ids)))


def _lock_unreferenced(conn: sa.Connection, pack_ids: Sequence[int], *, state: str) -> list[int]:
    locking = (
        sa.select(packs.c.id)
        .where(packs.c.id.in_(pack_ids), packs.c.state == state)
        .order_by(packs.c.id)
        .with_for_update(skip_locked=True)
    )
    locked = list(conn.execute(locking).scalars())
    looking = sa.select(packs.c.id).where(packs.c.id.in_(locked), IS_UNREFERENCED)
    return list(conn.execute(looking).scalars())


def is_idle(idle_us: int | sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether an upload is open and has been idle for so long."""
    return sa.and_(uploads.c.state == "open", uploads.c.touched_at <= now_us() - idle_us)
