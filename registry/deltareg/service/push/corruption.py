"""Corrupt uploads: stored bytes that are not what their manifest claims are withdrawn.

The event names the sender. If somebody else has sent the same version meanwhile, their bytes
replace the corrupt ones.
"""

from collections.abc import Iterable, Mapping
from functools import partial

import sqlalchemy as sa

from deltareg.db.access.principals import principal_name
from deltareg.db.runs import runs as run_queries
from deltareg.db.storage import forms, proofs
from deltareg.db.storage.proof_rows import FormRow, RelyingRow
from deltareg.db.storage.shares import PackHolder
from deltareg.identity.storage_map import StorageMap
from deltareg.service.corrupt import push_again
from deltareg.service.describe import name_of_relying
from deltareg.service.push.forms import take_form
from deltareg.service.push.subject import ProofSubject
from deltareg.service.registry import Caller
from deltareg.service.runs.cut_short import keep_findings_of
from deltareg.service.runs.kinds.prove import queue_proof
from deltareg.service.runs.waiting import note_cancelled

_TOLD = 20


def record_lie(
    conn: sa.Connection, caller: Caller, subject: ProofSubject, storage: StorageMap, wrong: Mapping[str, str]
) -> None:
    """Mark what is stored as corrupt, or put the bytes of another sender in its place.

    From now on its wrong pieces are offered to nobody. Whatever shares packs with them is proven
    again, and work that needs the bytes is ended. The subject must be locked as it was read.

    Args:
        conn: The transaction.
        caller: Who found the wrong bytes.
        subject: The version or base.
        storage: How it is stored.
        wrong: The problems, by the digest of a piece or the path of a file.
    """
    held = subject.held
    before = proofs.standing(conn, held)
    # None of the others either: nothing may rely on packs of what is corrupt.
    proofs.forget_pieces(conn, held)
    relying = proofs.relying_on(conn, held, packs_of_pieces(storage, wrong))
    after: dict[str, object] = {
        "proof": "corrupt",
        "sent_by": principal_name(conn, before.sender_id),
        "wrong": sorted(wrong)[:_TOLD],
        "relying": [name_of_relying(row) for row in relying],
        "fix": push_again(conn, held),
    }
    if not _replace_corrupt(conn, held, after):
        proofs.mark_corrupt(conn, held)
        end_work(conn, held)
    for row in relying:
        _prove_again(conn, caller, row)
    state = "proven" if before.is_proven else "claimed"
    caller.record(conn, subject.lied, subject.name, on=subject.on, before={"proof": state}, after=after)


def packs_of_pieces(storage: StorageMap, names: Iterable[str]) -> set[str]:
    """Return the digests of the packs that pieces lie in, with the packs of their references."""
    pieces = {str(digest): digest for digest in storage.pieces}
    chains = (storage.chain(pieces[name]) for name in names if name in pieces)
    return {str(pack) for chain in chains for pack in chain.packs}


def _replace_corrupt(conn: sa.Connection, held: PackHolder, after: dict[str, object]) -> bool:
    """Replace corrupt bytes by those that another sender pushed, if there are any."""
    if held.is_base:
        return False
    proposals = forms.forms_of(conn, held.row_id, state="proposed")
    waiting = [row for row in proposals if row.why == "push" and forms.is_sound(conn, row.id)]
    if not waiting:
        return False
    after |= {"proof": "claimed", "replaced_by": waiting[-1].sender or "registry"}
    return replace_with_proposed(conn, waiting[-1])


def replace_with_proposed(conn: sa.Connection, form: FormRow) -> bool:
    """Serve a version in the form that another sender pushed, and prove it anew. Always True."""
    take_form(conn, form)
    queue_proof(conn, PackHolder(form.version_id), created_by=form.sent_by)
    return True


def end_work(conn: sa.Connection, held: PackHolder) -> None:
    """End the runs of a corrupt version; its verifications wait until it is whole."""
    if held.is_base:
        return
    error = "the bytes of the version are corrupt"
    end = partial(run_queries.cancel, conn, error=error)
    for run_id in run_queries.active_of_version(conn, held.row_id, what=["reencode"]):
        end(run_id)
    judging = run_queries.active_of_version(conn, held.row_id, what=["verify"])
    for run_id in judging:
        end(run_id)
    keep_findings_of(conn, judging, why=error)
    note_cancelled(conn, judging, held)


def _prove_again(conn: sa.Connection, caller: Caller, row: RelyingRow) -> None:
    """Queue a proof of whatever shares packs with corrupt bytes, unless it is known to be corrupt."""
    if row.base_id is not None:
        held = PackHolder(row.base_id, is_base=True)
    elif row.version_id is not None:
        held = PackHolder(row.version_id)
    else:
        return
    if proofs.standing(conn, held).corrupt_at is None:
        queue_proof(conn, held, created_by=caller.principal_id)
