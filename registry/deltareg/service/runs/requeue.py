"""Queueing verifications again that waited for bytes that are whole now (`service.runs.waiting`)."""

from collections.abc import Mapping
from contextlib import suppress
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.channels import channels as channel_queries
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.runs.superseding import AUTOMATIC
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import waiting as queries
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import NotFound
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.ledger.channel_policy import digest_of_policy
from deltareg.service.priority import NORMAL
from deltareg.service.registry import Caller
from deltareg.service.runs.eligible import NOT_BY, NOT_ON
from deltareg.service.runs.kinds.verify import ON_CHANNEL, WHAT, own_labels, queue_verify
from deltareg.service.runs.second_look import SECOND_OF
from deltareg.service.verdicts.signed import LOCAL
from deltareg.service.verdicts.suites import find_suite

_AS_ASKED = {"continues", SECOND_OF, NOT_BY, NOT_ON}


def queue_what_waited(conn: sa.Connection, caller: Caller, held: PackHolder, *, name: str) -> int:
    """Queue the verifications that waited for a version or a base; return how many.

    Args:
        conn: The transaction in which it is proven.
        caller: Who proved it.
        held: The version or base that is proven.
        name: Its name.
    """
    count = 0
    for run in queries.take_waiting(conn, held):
        version = version_queries.version_by_id(conn, present(run.version_id))
        if version.deleted_at is not None or LOCAL in run.request or _is_passed_over(conn, run):
            continue
        with suppress(NotFound):  # of its suite, or of the variant: nobody asks for that any more
            run_id = queue_once_more(conn, caller, run, version)
            after = {"version": ref_of(version), "suite": run.suite, "waited_for": name}
            caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=line_of(version), before=None, after=after)
            count += 1
    return count


def _is_passed_over(conn: sa.Connection, run: ShownRunRow) -> bool:
    """Whether a run that a push queued by itself would have been superseded by a newer version's."""
    if AUTOMATIC not in run.request:
        return False
    version = version_queries.version_by_id(conn, present(run.version_id))
    newest = version_queries.version_rows(conn, version.delta_id, before=None, limit=1)
    return bool(newest) and newest[0].id != version.id


def queue_once_more(conn: sa.Connection, caller: Caller, run: ShownRunRow, version: VersionRow) -> str:
    """Queue an ended run again, with the current suite, policy and served version; return its id."""
    if _AS_ASKED & run.request.keys():  # of a verdict, or for other workers: as it was
        return run_queries.enqueue(
            conn,
            run_id=str(uuid4()),
            what=WHAT,
            dedup_key=f"healed:{run.id}",
            version_id=version.id,
            suite=run.suite,
            labels=run.labels,
            request=run.request,
            priority=NORMAL,
            created_by=run.created_by,
        )
    channel = _channel(conn, version, run.request)
    is_for_policy = bool(run.request.get("policy_digest"))
    return queue_verify(
        conn,
        caller,
        version,
        find_suite(conn, run.suite),
        again=False,
        labels=own_labels(run.labels),
        priority=NORMAL,
        new_id=uuid4,
        policy_digest="" if channel is None or not is_for_policy else digest_of_policy(channel),
        channel=None if channel is None else channel.name,
        variant=_variant(conn, run.request),
    )


def _channel(conn: sa.Connection, version: VersionRow, request: Mapping[str, str]) -> ChannelRow | None:
    name = request.get(ON_CHANNEL)
    return None if name is None else channel_queries.channel_row(conn, version.delta_id, name)


def _variant(conn: sa.Connection, request: Mapping[str, str]) -> BaseRow | None:
    name = request.get("variant")
    if name is None:
        return None
    rows = base_queries.base_rows(conn, name=name, root=request.get("base_root"), limit=1)
    if not rows:
        raise NotFound(f"there is no base {name} any more")
    return rows[0]
