"""Proposed forms: served once they are proven, refused if they are not what they claim.

A worker other than the one that made the form proves it. A worker of the same principal is accepted
only while no other principal has one enrolled; otherwise a registry with a single worker could
never re-encode anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.document import unpack_map
from deltareg.db.storage import forms, proofs
from deltareg.db.storage.proof_rows import FormRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep.damage import bad_packs
from deltareg.errors import Forbidden
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.push.forms import take_form
from deltareg.service.push.places import marks_of
from deltareg.service.push.proven import DecodedStorage, record_proof
from deltareg.service.push.subject import subject_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.eligible import OwnWork
from deltareg.service.runs.kinds.prove import result_of
from deltareg.service.runs.lost_lease import lease_lost
from deltareg.service.runs.runs import describe_run
from deltareg.wire import RunInfo

_TOLD = 20


@dataclass(frozen=True, slots=True)
class _Proposed:
    """A form as it was decoded, and the problems found in it."""

    form_id: int
    stored: DecodedStorage
    wrong: Mapping[str, str]


def complete_form_proof(
    registry: Registry, by: Caller, own: run_queries.RunClaim, form_id: int, wrong: Mapping[str, str], *, keyid: str
) -> RunInfo:
    """End the proof run of a form: the form replaces the served one, or is dropped.

    Raises:
        LeaseLost: The run is not the caller's (any more); nothing changes.
        Forbidden: `by` made the form, and there are other workers.
    """
    with read(registry.engine) as conn:
        form = forms.form_by_id(conn, form_id)
        proposal = None if form is None else _Proposed(form_id, decode_form(conn, form), wrong)

    def transaction(conn: sa.Connection) -> RunInfo:
        result: Mapping[str, object] = {}
        if proposal is not None:
            result = _settle(conn, by, proposal)
            result = {**result, "keyid": keyid} if result else result
        if run_queries.finish(conn, own, state="done", result=result) is None:
            raise lease_lost(conn, own)
        return describe_run(conn, by, own.run_id)

    return with_retry(registry.engine, transaction)


def form_map(conn: sa.Connection, form_id: int) -> bytes:
    """Return the storage map of a form."""
    form = forms.form_by_id(conn, form_id)
    if form is None:
        raise AssertionError("unreachable: forms are never deleted")
    manifest = version_queries.content(conn, form.version_id).manifest
    return unpack_map(forms.packed_map(conn, form_id), manifest)


def serve_proven(conn: sa.Connection, caller: Caller, form: FormRow, stored: DecodedStorage) -> None:
    """Serve a version in a proven form and keep the former one; the version must be locked."""
    held = stored.subject.held
    before = forms.served_form(conn, form.version_id)
    # What is corrupt or damaged is nothing to go back to.
    is_kept = proofs.standing(conn, held).corrupt_at is None and not bad_packs(conn, held)
    take_form(conn, form, is_former_kept=is_kept)
    now = proofs.standing(conn, held)
    record_proof(conn, caller, replace(stored, revision=now.storage_revision), before=now)
    version = version_queries.version_by_id(conn, form.version_id)
    caller.record(
        conn,
        Action.VERSION_REENCODE,
        ref_of(version),
        on=line_of(version),
        before={"stored_bytes": before.stored_bytes, "storage": before.storage_revision},
        after={
            "stored_bytes": form.stored_bytes,
            "storage": now.storage_revision,
            "run": form.run_id,
            "why": form.why,
            "made_by": form.sender or "registry",
        },
    )


def decode_form(conn: sa.Connection, form: FormRow) -> DecodedStorage:
    """Read a form and compute the marks of its pieces."""
    subject = subject_of(conn, PackHolder(form.version_id))
    manifest = Manifest.decode(version_queries.content(conn, form.version_id).manifest)
    storage = StorageMap.decode(form_map(conn, form.id))
    return DecodedStorage(subject, 0, manifest, storage, marks_of(manifest, storage))


def _settle(conn: sa.Connection, caller: Caller, proposed: _Proposed) -> Mapping[str, object]:
    """Take a form or drop it; return the result of the run, empty if it came too late."""
    held = proposed.stored.subject.held
    standing = proofs.standing(conn, held, lock=True)
    form = forms.form_by_id(conn, proposed.form_id, lock=True)
    if form is None or form.state != "proposed" or standing.deleted_at is not None:
        return {}
    _refuse_maker(conn, form, caller)
    if not forms.is_sound(conn, form.id):  # damaged since it was made, which is nobody's lie
        forms.end_form(conn, form.id, state="dropped")
        return {}
    if proposed.wrong:
        _refuse(conn, caller, form, proposed)
        return result_of("corrupt", proposed.wrong)
    serve_proven(conn, caller, form, proposed.stored)
    return result_of("proven", {})


def _refuse(conn: sa.Connection, caller: Caller, form: FormRow, proposed: _Proposed) -> None:
    forms.end_form(conn, form.id, state="refused")
    subject = proposed.stored.subject
    caller.record(
        conn,
        Action.VERSION_REFUSE,
        subject.name,
        on=subject.on,
        before={"form": form.id, "proof": "claimed"},
        after={
            "form": form.id,
            "made_by": form.sender or "registry",
            "run": form.run_id,
            "wrong": sorted(proposed.wrong)[:_TOLD],
        },
    )


def _refuse_maker(conn: sa.Connection, form: FormRow, caller: Caller) -> None:
    if form.sent_by in OwnWork.of(conn, caller.principal_id).while_others:
        raise Forbidden(
            "who stored a version anew does not prove it while other workers are enrolled",
            fix="leave it to a worker of somebody else",
        )
