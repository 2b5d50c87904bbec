"""Checking pieces: proof runs decode and hash all stored bytes, or a share of them.

A check consists only of its runs: each proves one version or base and reads all of it from the
store. So it can continue after any interruption, and the results of its runs are handled like those
of any proof.
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
    """Begin a check, or queue more of one; call it again until everything is queued.

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
    is_begun, looked_at, holders = bool(mark.share), 0, [PackHolder(0)]
    while holders and looked_at < _MOST_LOOKED_AT:
        with read(registry.engine) as conn:
            holders = queries.stored_after(conn, mark, limit=_BATCH)
        looked_at += len(holders)
        # Something is drawn in any case: a check is known by its runs.
        drawn = [held for held in holders if _is_drawn(check_id, held, share)]
        drawn = drawn or holders[: 0 if is_begun else 1]
        is_begun = is_begun or bool(drawn)
        queue = partial(_queue, caller=caller, check_id=check_id, share=share, wanted=drawn)
        with_retry(registry.engine, queue)
        mark = _after(mark, holders)
    return _show(registry, check_id, is_queued=not holders)


def show_check(registry: Registry, caller: Caller, check_id: str) -> CheckInfo:
    """Show the progress of a check.

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
    """Whether something belongs to the share; the answer is always the same."""
    text = f"{check_id} {'base' if held.is_base else 'version'} {held.row_id}"
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return number < share * _WHOLE


def _show(registry: Registry, check_id: str, *, is_queued: bool) -> CheckInfo:
    with read(registry.engine) as conn:
        rows = queries.states_of(conn, check_id)
    counts = {"proven": 0, "corrupt": 0, "waiting": 0, "unknown": 0}
    for row in rows:
        is_waiting = row.state in {"queued", "running"}
        proof = row.proof if row.proof in counts else "unknown"
        counts["waiting" if is_waiting else proof or "unknown"] += row.runs
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
