"""The former stored forms of a version, while they are kept, and returning to one of them."""

from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import forms
from deltareg.db.storage.proof_rows import FormRow
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import Blocked, Conflict, NotFound
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of, proof_of, ref_of
from deltareg.service.events import Action
from deltareg.service.push.forms import drop_proposals
from deltareg.service.push.proposals import decode_form, serve_proven
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.service.runs.kinds.prove import queue_form_proof, queue_proof
from deltareg.service.runs.runs import describe_run
from deltareg.wire import FormHistory, FormRevert, StoredFormInfo

KEEP_FORMS_S = 7 * 86_400.0


def show_forms(registry: Registry, caller: Caller, ref: Ref, *, keep_s: float) -> FormHistory:
    """List how a version is stored, was stored, and may come to be stored.

    Args:
        registry: The database and the store.
        caller: Who asks.
        ref: The version.
        keep_s: How long former forms are kept, in seconds.

    Raises:
        NotFound: There is no such version.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        return _history(conn, find_version(conn, caller, ref, bare="newest"), keep_s)


def revert_form(registry: Registry, caller: Caller, ref: Ref, request: FormRevert, *, keep_s: float) -> FormHistory:
    """Serve a version in a former form again: at once if that was proven, else once it is.

    The answer contains the run that proves it.

    Raises:
        NotFound: There is no such version, or no such form is kept.
        Blocked: The version is deleted.
        Conflict: The form is damaged as well.
    """
    caller.require(Right.PUSH, on=ref.line)

    def transaction(conn: sa.Connection) -> FormHistory:
        version = find_version(conn, caller, ref, bare="newest")
        version_queries.lock_version(conn, version.id)
        version = version_queries.version_by_id(conn, version.id)
        if version.deleted_at is not None:
            raise Blocked(f"{ref_of(version)} is deleted", fix="name another version")
        form = _former(conn, version, request.form)
        run_id = _go_back(conn, caller, version, form)
        history = _history(conn, version_queries.version_by_id(conn, version.id), keep_s)
        return history.model_copy(update={"run": describe_run(conn, caller, run_id)})

    return with_retry(registry.engine, transaction)


def take_former(conn: sa.Connection, caller: Caller, version: VersionRow) -> FormRow | None:
    """Serve a damaged version in its newest former form that is whole and proven, if any.

    A worker that fetches all of it proves it anew. The version must be locked.
    """
    for form in forms.forms_of(conn, version.id, state="former"):
        if form.proven_at is not None and forms.is_sound(conn, form.id):
            _go_back(conn, caller, version, form)
            return form
    return None


def _former(conn: sa.Connection, version: VersionRow, wanted: int | None) -> FormRow:
    former = forms.forms_of(conn, version.id, state="former")
    matches = [form for form in former if wanted in {None, form.id}]
    sound = [form for form in matches if forms.is_sound(conn, form.id)]
    if sound:
        return sound[0]
    if matches:
        raise Conflict(
            f"form {matches[0].id} of {ref_of(version)} is damaged as well",
            fix=f"push the same folder again: deltareg push PATH {line_of(version)}",
        )
    which = "former form" if wanted is None else f"former form {wanted}"
    raise NotFound(f"no {which} of {ref_of(version)} is kept", fix=f"deltareg storage history {ref_of(version)}")


def _go_back(conn: sa.Connection, caller: Caller, version: VersionRow, form: FormRow) -> str:
    """Serve a former form, or have it proven first; return the id of the run that proves it."""
    drop_proposals(conn, version.id)
    caller.record(
        conn,
        Action.VERSION_REVERT,
        ref_of(version),
        on=line_of(version),
        before={"storage": version.storage_revision},
        after={"form": form.id, "storage_was": form.revision},
    )
    if form.proven_at is None:
        forms.set_form(conn, form.id, state="proposed", why="revert")
        return queue_form_proof(conn, form, created_by=caller.principal_id)
    forms.set_form(conn, form.id, why="revert")
    form = replace(form, why="revert")
    serve_proven(conn, caller, form, decode_form(conn, form))
    held = PackHolder(version.id)
    return queue_proof(conn, held, created_by=caller.principal_id, is_anew=True)


def _history(conn: sa.Connection, version: VersionRow, keep_s: float) -> FormHistory:
    current, rows = forms.history_of(conn, version.id)
    taken_form = next((row for row in rows if row.state == "taken"), None)
    since = version.created_at if taken_form is None else present(taken_form.ended_at)
    now = StoredFormInfo(
        form=None,
        state="served",
        why="push" if taken_form is None else taken_form.why,
        stored_bytes=current.stored_bytes,
        revision=current.storage_revision,
        proof=proof_of(version),
        made_by=current.sender or "the registry" if taken_form is None else taken_form.sender or "registry",
        run="" if taken_form is None else taken_form.run_id or "",
        since=rfc3339(since),
    )
    return FormHistory(ref=ref_of(version), forms=[now, *(_show_form(row, keep_s) for row in rows)])


def _show_form(row: FormRow, keep_s: float) -> StoredFormInfo:
    is_kept = row.state == "former" or (row.state == "proposed" and row.why != "push")
    until = rfc3339(row.created_at + round(keep_s * US_PER_S)) if is_kept else None
    return StoredFormInfo(
        form=row.id,
        state=row.state,
        why=row.why,
        stored_bytes=row.stored_bytes,
        revision=row.revision,
        proof="claimed" if row.proven_at is None else "proven",
        made_by=row.sender or "registry",
        run=row.run_id or "",
        since=rfc3339(row.created_at),
        until=until,
    )
