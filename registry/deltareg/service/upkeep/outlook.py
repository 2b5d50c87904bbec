"""What a collection would free, and when the rest goes or what keeps it."""

from collections.abc import Iterable

from deltareg.db.sql.clock import US_PER_S
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339
from deltareg.service.paging import check_limit
from deltareg.service.registry import Caller, Registry
from deltareg.service.upkeep.collect import report_of
from deltareg.service.upkeep.plan import CollectionPlan, plan
from deltareg.wire import Answer, CollectReport


class PendingCollection(Answer):
    """A deleted version, or a former `form` of a version, that still holds bytes.

    `goes_at` is when it may go, empty if no time decides; `is_due` says that the next collection
    takes it. `stored_bytes` counts its own bytes, some of which others may share.
    """

    ref: str
    form: int | None
    stored_bytes: int
    since: str
    goes_at: str
    is_due: bool
    why: str


class Outlook(Answer):
    """What a collection would free now, what it would free without any grace, and what waits.

    `is_all` says that everything that waits is listed.
    """

    now: CollectReport
    without_grace: CollectReport
    grace_s: float
    keep_forms_s: float
    waiting: list[PendingCollection]
    is_all: bool


def show_outlook(
    registry: Registry,
    caller: Caller,
    *,
    grace_s: float,
    deleted_s: float | None = None,
    keep_logs_s: float | None,
    keep_forms_s: float,
    limit: int,
) -> Outlook:
    """Return what a collection would free, and what it would leave until when, or because of what.

    Args:
        registry: The database and the store.
        caller: Who asks.
        grace_s: How long stalled pushes stay.
        deleted_s: How long deleted versions stay; None for the same.
        keep_logs_s: How long logs of runs stay; None for ever.
        keep_forms_s: How long former stored forms stay.
        limit: How many of each to list.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    check_limit(limit)
    collection = plan(
        registry.engine,
        registry.store,
        grace_s=grace_s,
        deleted_s=deleted_s,
        least_s=0.0,
        keep_logs_s=keep_logs_s,
        keep_forms_s=keep_forms_s,
        limit=limit + 1,
    )
    deleted_s = grace_s if deleted_s is None else deleted_s
    deleted_us, forms_us = round(deleted_s * US_PER_S), round(keep_forms_s * US_PER_S)
    waiting = list(_versions(collection, grace_us=deleted_us, limit=limit))
    for row in collection.formers[:limit]:
        end = row.created_at + forms_us
        waiting.append(
            PendingCollection(
                ref=f"{row.namespace}/{row.line}:v{row.number}",
                form=row.id,
                stored_bytes=row.stored_bytes,
                since=rfc3339(row.created_at),
                goes_at=rfc3339(end),
                is_due=end <= collection.moment,
                why="kept for a while after another form took its place, to go back to",
            )
        )
    now, bare = (
        report_of(freed, run_logs=collection.run_logs, dry_run=True) for freed in (collection.now, collection.least)
    )
    return Outlook(
        now=now,
        without_grace=bare,
        grace_s=deleted_s,
        keep_forms_s=keep_forms_s,
        waiting=waiting,
        is_all=max(len(collection.deleted), len(collection.formers)) <= limit,
    )


def _versions(found: CollectionPlan, *, grace_us: int, limit: int) -> Iterable[PendingCollection]:
    for row in found.deleted[:limit]:
        end = row.deleted_at + grace_us
        goes_at, why = rfc3339(end), "deleted, and its grace is over"
        if row.id in found.pinned:
            goes_at, why = "", "a channel serves it, or may be rolled back to it"
        elif end > found.moment:
            why = "deleted, and can be restored until its grace is over"
        elif row.id not in found.due:
            goes_at, why = "", "a version that was made from it, or stands on it, holds its bytes"
        yield PendingCollection(
            ref=f"{row.namespace}/{row.line}:v{row.number}",
            form=None,
            stored_bytes=row.stored_bytes,
            since=rfc3339(row.deleted_at),
            goes_at=goes_at,
            is_due=row.id in found.due,
            why=why,
        )
