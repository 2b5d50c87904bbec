"""Flattening: storing a version against its base alone, without the versions before it."""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.session import with_retry
from deltareg.errors import Blocked
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.describe import ref_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.service.runs.kinds.reencode import WHAT, queue_reencode
from deltareg.service.runs.runs import describe_run
from deltareg.wire import RunInfo


def flatten(registry: Registry, caller: Caller, ref: Ref, *, new_id: Callable[[], UUID] = uuid4) -> RunInfo:
    """Queue a run that stores a version against its base alone, or join the one under way.

    Raises:
        NotFound: There is no such version.
        Blocked: The version is deleted.
    """
    caller.require(Right.PUSH, on=ref.line)

    def transaction(conn: sa.Connection) -> RunInfo:
        version = find_version(conn, caller, ref, bare="newest")
        if version.deleted_at is not None:
            raise Blocked(f"{ref_of(version)} is deleted", fix="name another version")
        new_run_id = str(new_id())
        run_id = queue_reencode(conn, caller, version, against="base", run_id=new_run_id)
        if run_id == new_run_id:
            after = {"version": ref_of(version), "what": WHAT, "against": "base"}
            caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=ref.line, before=None, after=after)
        return describe_run(conn, caller, run_id)

    return with_retry(registry.engine, transaction)
