"""Stored forms: a version has one that is served, and may have others that wait or are kept."""

import sqlalchemy as sa

from deltareg.db.document import unpack_map
from deltareg.db.queries import forms, proofs
from deltareg.db.queries import packs as pack_queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.queries.shares import Held
from deltareg.db.rows import FormRow
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.service.push.shares import keep_share


def take_form(conn: sa.Connection, form: FormRow) -> None:
    """Serve a version in a form that was proposed; it is a claim of who sent it.

    The packs of the form that was served are let go of. The version is locked.
    """
    held = Held(form.version_id)
    manifest = version_queries.content(conn, form.version_id).manifest
    raw = unpack_map(forms.packed_map(conn, form.id), manifest)
    pack_ids = forms.packs_of_form(conn, form.id)
    version_queries.replace_storage(
        conn, form.version_id, storage_map=raw, stored_bytes=form.stored_bytes
    )
    pack_queries.reference_version_anew(conn, form.version_id, pack_ids.values())
    proofs.claim_anew(conn, held, sent_by=form.sent_by)
    keep_share(conn, held, Manifest.decode(manifest), StorageMap.decode(raw))
    forms.end_form(conn, form.id, state="taken")
