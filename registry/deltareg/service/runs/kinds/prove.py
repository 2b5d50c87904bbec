"""Runs that prove stored bytes: every piece is decoded and hashed by somebody else than its sender.

One is queued whenever bytes come in, before all verifications. It ends in
`deltareg.service.push.proving`; one that is dead leaves the bytes claimed.
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
    """Queue a proof of what is stored of a version or a base, or join the one that waits.

    The run is about whatever is stored when it is claimed. With `is_anew` its worker fetches all of
    it, whatever its cache has: what lies in the store now is what is asked about. `notes` are kept
    with a run that is new.
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
    """Queue a proof of a form that was proposed, which is not served before it; give its id.

    It leaves out the workers of who sent the form, as long as there are others.
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
    """Give the form that a run proves; None where that is what is served."""
    named = run.request.get(FORM)
    return None if named is None else int(named)


def form_key(form_id: int) -> str:
    """Name the proof of a form that was proposed."""
    return f"{WHAT}:form:{form_id}"


def proof_key(held: PackHolder) -> str:
    """Name a proof: there is one under way for a version or a base at a time."""
    return f"{WHAT}:{'base' if held.is_base else 'version'}:{held.row_id}"


def held_by(run: RunRow) -> PackHolder:
    """Give what a run proves."""
    if run.base_id is not None:
        return PackHolder(run.base_id, is_base=True)
    if run.version_id is None:
        raise AssertionError("unreachable: a run that proves is about a version or a base")
    return PackHolder(run.version_id)


def result_of(proof: str, wrong: Mapping[str, str], *, keyid: str = "") -> dict[str, object]:
    """Write what came of a run, as its row keeps it, with the key that it was signed with."""
    signed = {"keyid": keyid} if keyid else {}
    return {"proof": proof, "wrong": [{"name": n, "detail": d} for n, d in wrong.items()], **signed}


def prove_where_base_was_missed(
    conn: sa.Connection, caller: Caller, base_id: int, *, new_id: Callable[[], UUID] = uuid4
) -> None:
    """Queue what could not be proven, now that the base is stored.

    A run under way may have had its last attempt without the base: it gets as many as a new one.
    """
    for version_id in proofs.claimed_of_base(conn, base_id):
        wanted = new_id()
        run_id = queue_proof(
            conn,
            PackHolder(version_id),
            created_by=caller.principal_id,
            priority=LOW,
            new_id=lambda: wanted,  # noqa: B023  # called at once
        )
        if run_id != str(wanted):
            queries.renew_attempts(conn, run_id)


def _leave_claimed(conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
    """Change nothing when a run is dead: what it was about stays claimed."""


KIND = RunKind(WHAT, on_base=prove_where_base_was_missed, on_death=_leave_claimed)
