"""Proof runs: somebody other than the sender decodes and hashes every stored piece.

One is queued whenever bytes come in, ahead of all verifications. It ends in
`deltareg.service.push.proving`; a dead one leaves the bytes claimed.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.storage import proofs
from deltareg.db.storage.proof_rows import FormRow
from deltareg.db.storage.shares import PackHolder
from deltareg.service.priority import LOW, PROOF
from deltareg.service.registry import Caller
from deltareg.service.runs.eligible import FORM, SENT_BY
from deltareg.service.runs.kinds.kind import RunKind

WHAT: Final = "prove"
ANEW: Final = "anew"
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def queue_proof(
    conn: sa.Connection,
    held: PackHolder,
    *,
    created_by: int | None,
    priority: int = PROOF,
    is_anew: bool = False,
    notes: Mapping[str, str] = NOTHING,
    new_id: Callable[[], UUID] = uuid4,
) -> str:
    """Queue a proof of the stored bytes of a version or a base, or join the waiting one.

    The run proves whatever is stored when a worker claims it. With `is_anew` the worker fetches
    everything from the store, even what it has cached. `notes` are stored with a new run.
    """
    return queries.enqueue(
        conn,
        run_id=str(new_id()),
        what=WHAT,
        dedup_key=":".join([proof_key(held), *([ANEW] if is_anew else []), *notes.values()]),
        version_id=None if held.is_base else held.row_id,
        base_id=held.row_id if held.is_base else None,
        request=({ANEW: "yes"} if is_anew else {}) | dict(notes),
        priority=priority,
        created_by=created_by,
    )


def queue_form_proof(
    conn: sa.Connection, form: FormRow, *, created_by: int | None, new_id: Callable[[], UUID] = uuid4
) -> str:
    """Queue a proof of a proposed form, which is not served before it; return the run id.

    It excludes the workers of the sender of the form, as long as there are others.
    """
    return queries.enqueue(
        conn,
        run_id=str(new_id()),
        what=WHAT,
        dedup_key=form_key(form.id),
        version_id=form.version_id,
        request={FORM: str(form.id), SENT_BY: str(form.sent_by or 0)},
        priority=LOW,
        created_by=created_by,
    )


def form_of(run: RunRow) -> int | None:
    """Return the form that a run proves; None if it proves the served one."""
    form_id = run.request.get(FORM)
    return None if form_id is None else int(form_id)


def form_key(form_id: int) -> str:
    """Return the key of the proof of a proposed form."""
    return f"{WHAT}:form:{form_id}"


def proof_key(held: PackHolder) -> str:
    """Return the key of a proof: a version or a base has one under way at a time."""
    return f"{WHAT}:{'base' if held.is_base else 'version'}:{held.row_id}"


def held_by(run: RunRow) -> PackHolder:
    """Return the version or base that a run proves."""
    if run.base_id is not None:
        return PackHolder(run.base_id, is_base=True)
    if run.version_id is None:
        raise AssertionError("unreachable: a run that proves is about a version or a base")
    return PackHolder(run.version_id)


def result_of(proof: str, wrong: Mapping[str, str], *, keyid: str = "") -> dict[str, object]:
    """Return the result of a proof as its row stores it, with the key that signed it."""
    signed = {"keyid": keyid} if keyid else {}
    return {"proof": proof, "wrong": [{"name": n, "detail": d} for n, d in wrong.items()], **signed}


def prove_where_base_was_missed(
    conn: sa.Connection, caller: Caller, base_id: int, *, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Queue the proofs that failed for want of a base, now that the base is stored.

    A run under way may be on its last attempt without the base: it gets as many attempts as a new
    one.
    """
    for version_id in proofs.claimed_of_base(conn, base_id):
        new_run_id = new_id()
        run_id = queue_proof(
            conn,
            PackHolder(version_id),
            created_by=caller.principal_id,
            priority=LOW,
            new_id=lambda: new_run_id,  # noqa: B023  # called at once
        )
        if run_id != str(new_run_id):
            queries.renew_attempts(conn, run_id)


def _leave_claimed(conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
    """Change nothing when a proof run is dead: its bytes stay claimed."""


KIND = RunKind(WHAT, on_base=prove_where_base_was_missed, on_death=_leave_claimed)
