"""Stored forms: a version has one that is served, and may have others that wait or are kept.

A form is *proposed* until somebody other than its sender has decoded it; then it is *taken*. The
form that it replaced is kept for a time as a *former* one, so that it can be served again.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.sql.document import pack_map, unpack_map
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import forms, proofs
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage.proof_rows import FormRow
from deltareg.db.storage.shares import PackHolder
from deltareg.identity.manifest import Manifest
from deltareg.identity.pack_spans import cold_bytes
from deltareg.identity.storage_map import StorageMap
from deltareg.service.push.shares import keep_share
from deltareg.service.runs.kinds.prove import form_key, queue_form_proof


def propose_form(
    conn: sa.Connection,
    version_id: int,
    pack_ids: Iterable[int],
    *,
    raw_map: bytes,
    stored_bytes: int,
    sent_by: int,
    run_id: str,
) -> str:
    """Add the form that a run has made, to be proven; drop another run's earlier proposal.

    Return the id of the run that proves it. The version must be locked.
    """
    drop_proposals(conn, version_id)
    manifest = version_queries.content(conn, version_id).manifest
    form_id = forms.add_form(
        conn,
        version_id,
        pack_ids,
        why="reencode",
        storage_map=pack_map(raw_map, manifest),
        stored_bytes=stored_bytes,
        sent_by=sent_by,
        run_id=run_id,
        state="proposed",
    )
    return queue_form_proof(conn, present(forms.form_by_id(conn, form_id)), created_by=None)


def drop_proposals(conn: sa.Connection, version_id: int) -> None:
    """Drop the forms proposed to replace the served one, with their proof runs.

    A form that was served before and was to be served again becomes a former form again, and keeps
    its packs. Forms that were pushed are left alone.
    """
    for form in forms.forms_of(conn, version_id, state="proposed"):
        if form.why == "push":
            continue
        if form.revision is not None:
            forms.set_form(conn, form.id, state="former")
        else:
            forms.end_form(conn, form.id, state="dropped")
        run_queries.end_queued(conn, form_key(form.id), result={})


def drop_pushed(conn: sa.Connection, version_id: int, *, sent_by: int) -> None:
    """Drop what a sender pushed of a version before: one form per sender waits."""
    for form in forms.forms_of(conn, version_id, state="proposed"):
        if form.why == "push" and form.sent_by == sent_by:
            forms.end_form(conn, form.id, state="dropped")


def take_form(conn: sa.Connection, form: FormRow, *, is_former_kept: bool = False) -> None:
    """Serve a version in another form, which is claimed until it is proven.

    The packs of the replaced form are released, or stay with it as a former form for a while. The
    version must be locked. A form that was pushed or reverted to is a claim of its sender. A
    re-encoded form was proven by somebody else, so the sender stays the sender of the version.
    """
    held = PackHolder(form.version_id)
    sender = proofs.standing(conn, held).sender_id
    if is_former_kept:
        _keep_former(conn, form.version_id, sender)
    manifest = version_queries.content(conn, form.version_id).manifest
    raw = unpack_map(forms.packed_map(conn, form.id), manifest)
    pack_ids = forms.packs_of_form(conn, form.id)
    described, storage = Manifest.decode(manifest), StorageMap.decode(raw)
    version_queries.replace_storage(
        conn,
        form.version_id,
        storage_map=raw,
        stored_bytes=form.stored_bytes,
        cold_bytes=cold_bytes(described, storage),
    )
    pack_queries.reference_version_anew(conn, form.version_id, pack_ids.values())
    proofs.claim_anew(conn, held, sent_by=sender if form.why == "reencode" else form.sent_by)
    keep_share(conn, held, described, storage)
    forms.end_form(conn, form.id, state="taken")


def _keep_former(conn: sa.Connection, version_id: int, sender: int | None) -> None:
    former = forms.forms_of(conn, version_id, state="taken")
    current = forms.served_form(conn, version_id)
    pack_ids = proofs.packs_of(conn, PackHolder(version_id)).values()
    forms.add_form(
        conn,
        version_id,
        pack_ids,
        why=former[0].why if former else "push",
        storage_map=current.storage_map,
        stored_bytes=current.stored_bytes,
        revision=current.storage_revision,
        sent_by=sender,
        state="former",
        proven_at=current.proven_at,
    )
