"""Settling what is stored: each pack counts for the oldest that needs it, and lines are added up."""

from collections import defaultdict
from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.storage import settling as queries
from deltareg.db.storage.rows import ShareRow
from deltareg.db.storage.settling import LineStorage

_BATCH = 1_000
Sums = defaultdict[tuple[int, str], LineStorage]


def settle_storage(engine: sa.Engine) -> None:
    """Settle all that waits."""
    while settle_some_storage(engine) == _BATCH:
        pass


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
    sums: Sums = defaultdict(LineStorage)
    for row in changes:
        if row.delta_id is not None and row.kind is not None:
            sums[row.delta_id, row.kind].add_change(row)
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
        line.add_share(share, is_owner=share.is_owner, by=-1)
    line.add_share(share, is_owner=is_owner, by=1)
