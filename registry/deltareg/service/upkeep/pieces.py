"""Checking pieces: workers decode and hash what is stored, all of it or a share, as runs.

A check is nothing but its runs: each proves one version or base, reading all of it from the store.
So it goes on where it stood after any interruption, and what a run finds is dealt with as always.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.storage import checks as queries
from deltareg.db.storage.proof_rows import CheckMarkRow
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import NotFound
from deltareg.refs import parse_id
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.priority import BACKGROUND
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.prove import queue_proof
from deltareg.service.upkeep.repair import still_corrupt
from deltareg.wire import CheckInfo, CheckMore

_BATCH, _MOST_LOOKED_AT = 100, 1_000
_WHOLE = 1 << 64


def go_on(registry: Registry, caller: Caller, request: CheckMore, *, new_id: Callable[[], UUID] = uuid4) -> CheckInfo:
    """Begin a check, or queue more of one; to be asked again until all of it is queued.

    Raises:
        NotFound: There is no such check.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    check_id = parse_id(request.check, "check") if request.check else str(new_id())
    with read(registry.engine) as conn:
        mark = queries.how_far(conn, check_id)
    if request.check and not mark.share:
        raise NotFound(f"there is no check {check_id[:40]}", fix="deltareg fsck --pieces")
    share = float(mark.share) if request.check else request.share
    is_begun, looked_at, found = bool(mark.share), 0, [PackHolder(0)]
    while found and looked_at < _MOST_LOOKED_AT:
        with read(registry.engine) as conn:
            found = queries.stored_after(conn, mark, limit=_BATCH)
        looked_at += len(found)
        # Something is drawn in any case: a check is known by its runs.
        wanted = [held for held in found if _is_drawn(check_id, held, share)]
        wanted = wanted or found[: 0 if is_begun else 1]
        is_begun = is_begun or bool(wanted)
        queue = partial(_queue, caller=caller, check_id=check_id, share=share, wanted=wanted)
        with_retry(registry.engine, queue)
        mark = _after(mark, found)
    return _show(registry, check_id, is_queued=not found)


def show_check(registry: Registry, caller: Caller, check_id: str) -> CheckInfo:
    """Show how far a check is.

    Raises:
        NotFound: There is no such check.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    check_id = parse_id(check_id, "check")
    with read(registry.engine) as conn:
        mark = queries.how_far(conn, check_id)
    if not mark.share:
        raise NotFound(f"there is no check {check_id[:40]}", fix="deltareg fsck --pieces")
    return _show(registry, check_id, is_queued=True)


def _after(mark: CheckMarkRow, found: Sequence[PackHolder]) -> CheckMarkRow:
    of_versions = [held.row_id for held in found if not held.is_base]
    of_bases = [held.row_id for held in found if held.is_base]
    return replace(mark, version_id=max([mark.version_id, *of_versions]), base_id=max([mark.base_id, *of_bases]))


def _queue(conn: sa.Connection, caller: Caller, check_id: str, share: float, wanted: list[PackHolder]) -> None:
    for held in wanted:
        queue_proof(
            conn,
            held,
            created_by=caller.principal_id,
            priority=BACKGROUND,
            is_anew=True,
            notes={queries.CHECK: check_id, queries.SHARE: str(share)},
        )


def _is_drawn(check_id: str, held: PackHolder, share: float) -> bool:
    """Whether something belongs to the share; the answer is the same each time it is asked."""
    text = f"{check_id} {'base' if held.is_base else 'version'} {held.row_id}"
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return drawn < share * _WHOLE


def _show(registry: Registry, check_id: str, *, is_queued: bool) -> CheckInfo:
    with read(registry.engine) as conn:
        rows = queries.states_of(conn, check_id)
    counts = {"proven": 0, "corrupt": 0, "waiting": 0, "unknown": 0}
    for row in rows:
        is_waiting = row.state in {"queued", "running"}
        known = row.proof if row.proof in counts else "unknown"
        counts["waiting" if is_waiting else known or "unknown"] += row.runs
    to_push = still_corrupt(registry.engine) if counts["corrupt"] else []
    return CheckInfo(
        id=check_id,
        is_queued=is_queued,
        total=sum(counts.values()),
        proven=counts["proven"],
        corrupt=counts["corrupt"],
        waiting=counts["waiting"],
        unknown=counts["unknown"],
        to_push=to_push,
    )
