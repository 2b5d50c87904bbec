"""Stored bytes: read and decoded once, then recorded as proven.

Reading happens before the transaction that records the result.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.storage import forms, proofs
from deltareg.db.storage.proof_rows import StandingProofRow
from deltareg.db.storage.shares import PackHolder
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.push.places import marks_of, offer_pieces
from deltareg.service.push.subject import ProofSubject, subject_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.requeue import queue_what_waited


@dataclass(frozen=True, slots=True)
class DecodedStorage:
    """A stored version or base, read before the transaction that records the result of a proof.

    Attributes:
        subject: The version or base.
        revision: Its storage revision when it was read.
        manifest: Its manifest.
        storage: Its storage map.
        marks: The marks by which its pieces are found.
    """

    subject: ProofSubject
    revision: int
    manifest: Manifest
    storage: StorageMap
    marks: frozenset[int]


def decode_stored(registry: Registry, held: PackHolder) -> DecodedStorage:
    """Read how something is stored, and compute the marks of its pieces."""
    with read(registry.engine) as conn:
        subject = subject_of(conn, held)
        revision = proofs.standing(conn, held).storage_revision
        documents = proofs.content(conn, held)
    digest = str(Manifest.digest_of(documents.manifest))
    manifest = decode_manifest(digest, lambda: documents.manifest)
    storage = StorageMap.decode(documents.storage_map)
    return DecodedStorage(subject, revision, manifest, storage, marks_of(manifest, storage))


def record_proof(conn: sa.Connection, caller: Caller, found: DecodedStorage, *, before: StandingProofRow) -> None:
    """Record bytes as proven, and offer their pieces; the subject must be locked as it was read."""
    held = found.subject.held
    offer_pieces(conn, found.subject, found.marks)
    if before.is_proven:
        return
    proofs.mark_proven(conn, held)
    if not held.is_base:
        for form in forms.forms_of(conn, held.row_id, state="proposed"):
            if form.why == "push":
                forms.end_form(conn, form.id, state="dropped")
    state = "claimed" if before.corrupt_at is None else "corrupt"
    caller.record(
        conn,
        found.subject.proved,
        found.subject.name,
        on=found.subject.on,
        before={"proof": state},
        after={"proof": "proven", "storage": found.revision},
    )
    queue_what_waited(conn, caller, held, name=found.subject.name)
