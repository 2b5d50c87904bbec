"""Asking for a proof: of bytes that are still claimed, or again of bytes that were proven."""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.session import with_retry
from deltareg.db.storage import proofs
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import Blocked, InvalidInput
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Base, Resource
from deltareg.service.describe import ref_of
from deltareg.service.events import Action
from deltareg.service.priority import LOW, PROOF
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base, find_version
from deltareg.service.runs.kinds.prove import WHAT, queue_proof
from deltareg.service.runs.runs import describe_run
from deltareg.wire import RunCreate, RunInfo


def queue_prove(
    registry: Registry, caller: Caller, request: RunCreate, *, new_id: Callable[[], UUID] = uuid4
) -> RunInfo:
    """Queue a proof, join the one under way, or return the finished one.

    Raises:
        NotFound: There is no such version or base.
        Blocked: The version is deleted, or the base has no bytes here.
        InvalidInput: The request does not name exactly one of the two.
    """
    _require(caller, on=SOMEWHERE)
    if bool(request.ref) == bool(request.base):
        raise InvalidInput("a proof is of a version or of a base", fix="send `ref` or `base`")
    on: Resource = Base(request.base) if request.base else caller.current_ref(Ref.parse(request.ref)).line
    _require(caller, on=on)

    def transaction(conn: sa.Connection) -> RunInfo:
        held, name = _find(conn, caller, request)
        finished = proofs.newest_proof(conn, held)
        is_proven = proofs.standing(conn, held).is_proven
        if finished is not None and not request.again and is_proven:
            return describe_run(conn, caller, finished)
        new_run_id = new_id()
        # Whoever doubts what is known asks about what lies in the store now.
        run_id = queue_proof(
            conn,
            held,
            created_by=caller.principal_id,
            is_anew=request.again,
            # What is proven waits for nobody: doubts come behind the work of others.
            priority=LOW if is_proven else PROOF,
            new_id=lambda: new_run_id,
        )
        if run_id == str(new_run_id):
            after = {"subject": name, "what": WHAT}
            caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=on, before=None, after=after)
        return describe_run(conn, caller, run_id)

    return with_retry(registry.engine, transaction)


def _find(conn: sa.Connection, caller: Caller, request: RunCreate) -> tuple[PackHolder, str]:
    if request.base:
        base = find_base(conn, caller, request.base)
        if not base.is_stored:
            message = f"the base {base.name} is registered without its bytes: nothing is stored here"
            raise Blocked(message, fix=f"deltareg base push PATH {base.name}")
        return PackHolder(base.id, is_base=True), f"base/{base.name}"
    version = find_version(conn, caller, Ref.parse(request.ref), bare="newest")
    if version.deleted_at is not None:
        raise Blocked(f"{ref_of(version)} is deleted", fix="name another version")
    return PackHolder(version.id), ref_of(version)


def _require(caller: Caller, *, on: Resource) -> None:
    """Check that the caller may push or verify: a proof only changes what is known."""
    if not caller.may(Right.VERIFY, on=on):
        caller.require(Right.PUSH, on=on)
