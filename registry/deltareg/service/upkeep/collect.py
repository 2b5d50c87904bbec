"""Collection: free what nothing needs, beside pushes, other collections and crashes at any point.

Protocol D (docs/design.md, Stored form). Its safety needs no clock: an object is deleted only under
a physical key that no row can ever name again. The grace period only decides how long a deleted
version or a stalled push can still be recovered; 0 is safe.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from deltareg.db.quotas.usage import holders_of_packs, lock_usage
from deltareg.db.runs.runs import end_queued
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.storage import forms
from deltareg.db.storage.rows import MarkedPackRow
from deltareg.db.upkeep import collection as queries
from deltareg.db.upkeep.holds import is_held
from deltareg.db.upkeep.released import forget_released
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.events import Action
from deltareg.service.ledger.channel_policy import PIN_WINDOW
from deltareg.service.push.revert import KEEP_FORMS_S
from deltareg.service.push.staging import sweep as sweep_staged
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.prove import form_key
from deltareg.service.runs.log_retention import DEFAULT_KEEP_S, drop_old_logs
from deltareg.service.upkeep.old_events import drop_old_events
from deltareg.store import BlobStore
from deltareg.wire import CollectReport

_QUIET_US = 7 * 86_400 * US_PER_S
_BATCH = 200


@dataclass(frozen=True, slots=True)
class CollectionTotals:
    """What a collection freed, or a plan would free.

    Attributes:
        versions: Deleted versions that released their packs.
        uploads_expired: Stalled pushes that were closed.
        packs: Packs that nothing needs.
        objects: Objects in the store, from packs and from failed pushes.
        size_bytes: Their bytes.
    """

    versions: int = 0
    uploads_expired: int = 0
    packs: int = 0
    objects: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CollectionStep:
    """A batch of one stage: the sizes of the objects that it freed, and where the next begins, if any."""

    sizes: Sequence[int]
    after: int | None


@dataclass(frozen=True, slots=True)
class ReleaseStep:
    """How many versions a batch released, and the oldest that it looked at; None after the last."""

    released: int
    before: int | None


def run_collection(
    registry: Registry,
    caller: Caller,
    *,
    grace_s: float,
    deleted_s: float | None = None,
    keep_logs_s: float | None = DEFAULT_KEEP_S,
    keep_forms_s: float = KEEP_FORMS_S,
) -> CollectReport:
    """Free what nothing needs; may run at any time, on several hosts at once.

    Args:
        registry: The database and the store.
        caller: Who asks.
        grace_s: How long stalled pushes stay.
        deleted_s: How long deleted versions stay; None for the same.
        keep_logs_s: How long logs stay after their runs have ended; None for ever.
        keep_forms_s: How long a stored form of a version stays after another took its place.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    logs = drop_old_logs(registry.engine, keep_s=keep_logs_s)  # needs no store that answers
    drop_old_events(registry.engine)
    freed = run(registry.engine, registry.store, grace_s=grace_s, deleted_s=deleted_s, keep_forms_s=keep_forms_s)
    after = {"packs": freed.packs, "objects": freed.objects, "bytes": freed.size_bytes, "run_logs": logs}
    with_retry(
        registry.engine,
        partial(caller.record, action=Action.COLLECT_RUN, subject="store", on=EVERYTHING, before=None, after=after),
    )
    with read(registry.engine) as conn:
        held = is_held(conn)
    return report_of(freed, run_logs=logs, dry_run=False).model_copy(update={"is_held": held})


def run(
    engine: sa.Engine,
    store: BlobStore,
    *,
    grace_s: float,
    deleted_s: float | None = None,
    keep_forms_s: float = KEEP_FORMS_S,
) -> CollectionTotals:
    """Free what nothing needs, in the order versions, forms, uploads, packs.

    Deleted versions stay for `deleted_s`, stalled pushes for `grace_s`; None is the same for both.

    A crash, or a fault of the store or the database, at any point only leaves work for the next
    collection.

    Raises:
        StoreUnavailable: The store does not answer.
        Unavailable: The database does not answer.
    """
    grace_us = round(grace_s * US_PER_S)
    deleted_us = grace_us if deleted_s is None else round(deleted_s * US_PER_S)
    versions = _release_all(engine, deleted_us)
    release_forms(engine, round(keep_forms_s * US_PER_S))
    expired = with_retry(engine, partial(queries.expire_uploads, idle_us=grace_us))
    with_retry(engine, queries.drop_manifests)
    leftovers = _all(partial(sweep_some, engine, store))
    sweep_staged(engine, store, idle_s=grace_s)
    _all(partial(mark_some, engine))
    freed = _all(partial(delete_some, engine, store))
    return CollectionTotals(
        versions=versions,
        uploads_expired=expired,
        packs=len(freed),
        objects=len(leftovers) + len(freed),
        size_bytes=sum(leftovers) + sum(freed),
    )


def children_first(waiting: Iterable[int], children: Mapping[int, Sequence[int]]) -> list[int]:
    """Order the versions to release, children before parents; a child that stays pins its parents.

    Args:
        waiting: The versions.
        children: By version, the versions made from it or standing on it that hold their packs.
    """
    ready: dict[int, None] = {}
    # A version is younger than what it was made from, so that one walk finds nearly all.
    remaining = sorted(set(waiting), reverse=True)
    while True:
        blocked: list[int] = []
        for version_id in remaining:
            if ready.keys() >= set(children.get(version_id, ())):
                ready[version_id] = None
            else:
                blocked.append(version_id)
        if len(blocked) == len(remaining):
            return list(ready)
        remaining = blocked


def release_some(engine: sa.Engine, grace_us: int, before: int | None = None) -> ReleaseStep:
    """Release deleted versions whose grace is over, of a batch of those older than one."""
    with read(engine) as conn:
        waiting, oldest = queries.releasable(conn, grace_us=grace_us, window=PIN_WINDOW, most=_BATCH, before=before)
        ready = children_first(waiting, queries.holding_children(conn, waiting))
    released = [with_retry(engine, partial(queries.release, version_id=each, window=PIN_WINDOW)) for each in ready]
    return ReleaseStep(sum(released), oldest)


def _release_all(engine: sa.Engine, grace_us: int) -> int:
    """Release what can be; a walk finds all of it, but for what is older than what was made from it."""
    released, before, of_walk = 0, None, 0
    while True:
        step = release_some(engine, grace_us, before)
        before, of_walk = step.before, of_walk + step.released
        if before is None:
            released += of_walk
            if not of_walk:
                return released
            of_walk = 0


def release_forms(engine: sa.Engine, keep_us: int) -> None:
    """Release stored forms that were replaced long ago, or proposed long ago and never proven."""
    with read(engine) as conn:
        old = forms.old_forms(conn, keep_us=keep_us)
    for form_id in old:
        with_retry(engine, partial(_release_form, form_id=form_id, keep_us=keep_us))


def _release_form(conn: sa.Connection, form_id: int, *, keep_us: int) -> None:
    locked = forms.form_by_id(conn, form_id, lock=True)
    if locked is not None and form_id in forms.old_forms(conn, keep_us=keep_us):
        state = "released" if locked.state == "former" else "dropped"
        forms.end_form(conn, form_id, state=state)
        end_queued(conn, form_key(form_id), result={})


def sweep_some(engine: sa.Engine, store: BlobStore, after: int) -> CollectionStep:
    """Delete a batch of leftovers of failed pushes."""
    with read(engine) as conn:
        rows = queries.leftovers(conn, after=after, limit=_BATCH)
    sizes: list[int] = []
    for row in rows:
        size = store.size(row.physical_key)
        if size is not None:
            store.delete(row.physical_key)
            sizes.append(size)
    ids = [row.id for row in rows]
    if ids:
        with_retry(engine, partial(queries.forget_leftovers, ids=ids, quiet_us=_QUIET_US))
    return CollectionStep(sizes, ids[-1] if ids else None)


def mark_some(engine: sa.Engine, after: int) -> CollectionStep:
    """Mark a batch of packs that nothing needs."""
    with read(engine) as conn:
        rows = queries.unreferenced_packs(conn, after=after, limit=_BATCH)
    ids = [row.id for row in rows]
    if ids:
        with_retry(engine, partial(queries.mark_deleting, pack_ids=ids))
    return CollectionStep([], ids[-1] if ids else None)


def delete_some(engine: sa.Engine, store: BlobStore, after: int) -> CollectionStep:
    """Delete the objects of a batch of marked packs, then their rows."""
    with read(engine) as conn:
        rows = queries.deleting(conn, after=after, limit=_BATCH)
    if not rows:
        with_retry(engine, forget_released)
        return CollectionStep([], None)
    sure = with_retry(engine, partial(queries.recheck, marked=rows))
    for row in sure:
        store.delete(row.physical_key)
    dropped = with_retry(engine, partial(_drop, rows=sure))
    return CollectionStep([row.size_bytes for row in dropped], rows[-1].id)


def _all(step: Callable[[int], CollectionStep]) -> list[int]:
    """Do a stage batch by batch; return the sizes of what it freed."""
    sizes: list[int] = []
    after: int | None = 0
    while after is not None:
        done = step(after)
        sizes += done.sizes
        after = done.after
    return sizes


def _drop(conn: sa.Connection, rows: Sequence[MarkedPackRow]) -> list[MarkedPackRow]:
    lock_usage(conn, holders_of_packs(conn, [row.id for row in rows]))  # before the packs, as pushes do
    return [row for row in rows if queries.drop_pack(conn, row.id, physical_key=row.physical_key)]


def report_of(freed: CollectionTotals, *, run_logs: int, dry_run: bool) -> CollectReport:
    """Describe what a collection freed, or would free."""
    return CollectReport(
        dry_run=dry_run,
        uploads_expired=freed.uploads_expired,
        packs=freed.packs,
        objects=freed.objects,
        bytes=freed.size_bytes,
        run_logs=run_logs,
    )
