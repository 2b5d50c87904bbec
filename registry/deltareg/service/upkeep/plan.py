"""What a collection would free, and what waits for one: read once, for two grace periods.

Of what it reads it only keeps totals and the waiting versions. However much failed pushes have
left, the store is asked page by page, without holding a snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep import awaiting as queries
from deltareg.db.upkeep.collection import stranded_packs
from deltareg.db.upkeep.rows import AwaitingRow, DeletedRow, FormerRow
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.ledger.channel_policy import PIN_WINDOW
from deltareg.service.push.revert import KEEP_FORMS_S
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.log_retention import DEFAULT_KEEP_S
from deltareg.service.upkeep.collect import CollectionTotals, children_first, report_of
from deltareg.store import BlobStore
from deltareg.wire import CollectReport

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What a collection would free, and what waits for one.

    Attributes:
        now: What it would free now.
        least: What it would free with the least grace.
        run_logs: How many logs of runs it would drop.
        moment: When this was read, in µs since the epoch.
        due: The deleted versions that it would release.
        pinned: The deleted versions that a channel serves, or may be rolled back to.
        deleted: Deleted versions that hold their bytes, up to the limit.
        formers: Former stored forms that are still kept, up to the limit.
    """

    now: CollectionTotals
    least: CollectionTotals
    run_logs: int
    moment: int
    due: frozenset[int]
    pinned: frozenset[int]
    deleted: Sequence[DeletedRow]
    formers: Sequence[FormerRow]


def plan_collection(
    registry: Registry,
    caller: Caller,
    *,
    grace_s: float,
    deleted_s: float | None = None,
    keep_logs_s: float | None = DEFAULT_KEEP_S,
    keep_forms_s: float = KEEP_FORMS_S,
) -> CollectReport:
    """Return what `run_collection` would free now; changes nothing."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    collection = plan(
        registry.engine,
        registry.store,
        grace_s=grace_s,
        deleted_s=deleted_s,
        keep_logs_s=keep_logs_s,
        keep_forms_s=keep_forms_s,
    )
    return report_of(collection.now, run_logs=collection.run_logs, dry_run=True)


def plan(
    engine: sa.Engine,
    store: BlobStore,
    *,
    grace_s: float,
    deleted_s: float | None = None,
    least_s: float | None = None,
    keep_logs_s: float | None = None,
    keep_forms_s: float = KEEP_FORMS_S,
    limit: int = 0,
) -> CollectionPlan:
    """Count what a collection would free, in one snapshot of the database.

    Args:
        engine: The database.
        store: Where the bytes are.
        grace_s: How long stalled pushes stay.
        deleted_s: How long deleted versions stay; None for the same.
        least_s: A second grace period to count with, at most `grace_s`; None for the same.
        keep_logs_s: How long logs of runs stay; None for ever.
        keep_forms_s: How long former stored forms stay.
        limit: How many waiting versions, and how many forms, to list.
    """
    grace_us = round(grace_s * US_PER_S)
    least_us = grace_us if least_s is None else min(grace_us, round(least_s * US_PER_S))
    deleted_us = grace_us if deleted_s is None else round(deleted_s * US_PER_S)
    least_deleted_us = deleted_us if least_s is None else least_us
    keep_logs_us = queries.FOR_EVER_US if keep_logs_s is None else round(keep_logs_s * US_PER_S)
    with read(engine) as conn:
        combined = queries.awaiting(
            conn, window=PIN_WINDOW, grace_us=grace_us, least_us=least_us, keep_logs_us=keep_logs_us, limit=limit
        )
        moment = combined.all(queries.MOMENT)[0].now
        waiting, children = combined.all(queries.WAITING), dict[int, list[int]]()
        for row in [*combined.all(queries.MADE_FROM), *combined.all(queries.STANDING_ON)]:
            children.setdefault(row.version_id, []).append(row.child_id)
        due = children_first(_over(waiting, moment - deleted_us), children)
        least = children_first(_over(waiting, moment - min(deleted_us, least_deleted_us)), children)
        packs = queries.freed_packs(conn, leaving=due, least=least, keep_forms_us=round(keep_forms_s * US_PER_S))
    stalled = combined.all(queries.STALLED)[0]
    leftovers, least_left = _weigh_leftovers(engine, store, grace_us=grace_us, least_us=least_us)
    return CollectionPlan(
        now=CollectionTotals(
            versions=len(due),
            uploads_expired=stalled.now,
            packs=packs.packs,
            objects=packs.packs + leftovers.objects,
            size_bytes=packs.size_bytes + leftovers.size_bytes,
        ),
        least=CollectionTotals(
            versions=len(least),
            uploads_expired=stalled.least,
            packs=packs.least_packs,
            objects=packs.least_packs + least_left.objects,
            size_bytes=packs.least_bytes + least_left.size_bytes,
        ),
        run_logs=combined.all(queries.RUN_LOGS)[0].run_logs,
        moment=moment,
        due=frozenset(due),
        pinned=frozenset(row.id for row in waiting if row.is_pinned),
        deleted=combined.all(queries.DELETED),
        formers=combined.all(queries.FORMERS),
    )


def _over(waiting: Sequence[AwaitingRow], since: int) -> list[int]:
    """List the versions whose grace is over and that no channel pins."""
    return [row.id for row in waiting if row.deleted_at <= since and not row.is_pinned]


def _weigh_leftovers(
    engine: sa.Engine, store: BlobStore, *, grace_us: int, least_us: int
) -> tuple[CollectionTotals, CollectionTotals]:
    """Add up the leftovers of failed pushes: those that go now, and those with the least grace."""
    objects, sizes = [0, 0], [0, 0]
    after, is_more = 0, True
    while is_more:
        with read(engine) as conn:
            rows = stranded_packs(conn, after=after, limit=_PAGE, grace_us=grace_us, least_us=least_us)
        for row in rows:
            size = store.size(row.physical_key)
            if size is None:
                continue
            for which in (0, 1) if row.is_due else (1,):
                objects[which] += 1
                sizes[which] += size
        is_more = len(rows) == _PAGE
        after = rows[-1].id if rows else after
    now, least = (CollectionTotals(objects=objects[which], size_bytes=sizes[which]) for which in (0, 1))
    return now, least
