"""Settling what is stored: each pack counts for the oldest that needs it, and lines are added up."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.storage import settling as queries
from deltareg.db.storage.rows import ShareRow
from deltareg.db.tables import SHARE_FIGURES, STORAGE_FIGURES
from deltareg.errors import DiskFull, Unavailable

log = logging.getLogger(__name__)

_BATCH = 1_000
Sums = defaultdict[tuple[int, str], Counter[str]]


def settle_storage(engine: sa.Engine) -> bool:
    """Settle all that waits; return whether that could be written, as it cannot on a full disk."""
    try:
        while settle_some_storage(engine) == _BATCH:
            pass
    except (DiskFull, Unavailable) as error:
        log.warning("what is stored is not settled: %s", error)
        return False
    return True


def settle_some_storage(engine: sa.Engine) -> int:
    """Settle a batch of what pushes, deletions and other forms changed; return how many changes there were.

    Where nothing changed it writes nothing, and waits for nobody who does.
    """
    with read(engine) as conn:
        if not queries.has_changes(conn):
            return 0
    return with_retry(engine, _settle)


def _settle(conn: sa.Connection) -> int:
    queries.lock_settling(conn)
    changes = queries.next_changes(conn, limit=_BATCH)
    sums: Sums = defaultdict(Counter)
    for row in changes:
        if row.delta_id is not None and row.kind is not None:
            sums[row.delta_id, row.kind].update({name: getattr(row, name) for name in STORAGE_FIGURES})
    owners, others = _share_out(conn, {row.pack_id for row in changes if row.pack_id is not None})
    for shares, is_owner in ((owners, True), (others, False)):
        for share in shares:
            _count(sums, share, is_owner=is_owner)
        queries.mark_shares(conn, shares, is_owner=is_owner)
    queries.add_storage(conn, sums)
    if changes:
        queries.drop_changes(conn, (row.id for row in changes))
    return len(changes)


def _share_out(conn: sa.Connection, pack_ids: Iterable[int]) -> tuple[list[ShareRow], list[ShareRow]]:
    """Return the shares that become owners of packs, and those that become others."""
    sought: dict[int, list[ShareRow]] = {pack_id: [] for pack_id in pack_ids}
    if sought:
        for share in queries.sought_shares(conn, sought):
            sought[share.pack_id].append(share)
    ownerless = [pack_id for pack_id, shares in sought.items() if not any(share.is_owner for share in shares)]
    if ownerless:
        for share in queries.oldest_others(conn, ownerless):
            sought[share.pack_id].append(share)
    owners: list[ShareRow] = []
    others: list[ShareRow] = []
    for shares in sought.values():
        oldest = min(shares, key=lambda share: (share.created_at, share.is_base, share.holder), default=None)
        for share in shares:
            is_owner = share is oldest
            if share.is_owner is not is_owner:
                (owners if is_owner else others).append(share)
    return owners, others


def _count(sums: Sums, share: ShareRow, *, is_owner: bool) -> None:
    """Count a share of a version as what it is now, and no more as what it was."""
    if share.delta_id is None or share.kind is None:
        return
    line = sums[share.delta_id, share.kind]
    if share.is_owner is not None:
        line.subtract(_figures(share, is_owner=share.is_owner))
    line.update(_figures(share, is_owner=is_owner))


def _figures(share: ShareRow, *, is_owner: bool) -> dict[str, int]:
    """Return what a share counts: of its own pack all of it, of another's what it decodes to."""
    if not is_owner:
        return {"shared_bytes": share.referenced_bytes + share.alone_bytes}
    return {"pack_bytes": share.size_bytes} | {name: getattr(share, name) for name in SHARE_FIGURES}
