"""A lie: what is stored is not what its manifest says. It is withdrawn, and told whose it was.

Where somebody else has sent the same version meanwhile, their bytes take the place of the lie.
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
from deltareg.service.runs.kinds.prove import queue_proof
from deltareg.service.runs.waiting import note_cancelled

_TOLD = 20


def record_lie(
    conn: sa.Connection, caller: Caller, subject: ProofSubject, storage: StorageMap, wrong: Mapping[str, str]
) -> None:
    """Mark what is stored as corrupt, or put the bytes of another sender in its place.

    Nobody is offered its wrong pieces from now on. What shares packs with them is proven again, and
    work that needs the bytes is ended. The subject is locked as it was read.

    Args:
        conn: The transaction.
        caller: Who found out.
        subject: What it is about.
        storage: How it is stored.
        wrong: What is wrong with it, by the digest of a piece or the path of a file.
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
    """Give the digests of the packs that pieces lie in, each with what it is decoded against."""
    pieces = {str(digest): digest for digest in storage.pieces}
    chains = (storage.chain(pieces[name]) for name in names if name in pieces)
    return {str(pack) for chain in chains for pack in chain.packs}


def _replace_corrupt(conn: sa.Connection, held: PackHolder, after: dict[str, object]) -> bool:
    """Put what another sender proposed in the place of a lie, if there is anything."""
    if held.is_base:
        return False
    proposed = forms.forms_of(conn, held.row_id, state="proposed")
    waiting = [row for row in proposed if row.why == "push" and forms.is_sound(conn, row.id)]
    if not waiting:
        return False
    after |= {"proof": "claimed", "replaced_by": waiting[-1].sender or "registry"}
    return replace_with_proposed(conn, waiting[-1])


def replace_with_proposed(conn: sa.Connection, form: FormRow) -> bool:
    """Serve a version in the form that another sender pushed; it is proven anew. Always true."""
    take_form(conn, form)
    queue_proof(conn, PackHolder(form.version_id), created_by=form.sent_by)
    return True


def end_work(conn: sa.Connection, held: PackHolder) -> None:
    """End the runs of a version which is corrupt; what was to judge it waits until it is whole."""
    if held.is_base:
        return
    end = partial(run_queries.cancel, conn, error="the bytes of the version are corrupt")
    for run_id in run_queries.active_of_version(conn, held.row_id, what=["reencode"]):
        end(run_id)
    judging = run_queries.active_of_version(conn, held.row_id, what=["verify"])
    for run_id in judging:
        end(run_id)
    note_cancelled(conn, judging, held)


def _prove_again(conn: sa.Connection, caller: Caller, row: RelyingRow) -> None:
    """Have somebody look at what shares packs with a lie, unless it is known to be one, too."""
    if row.base_id is not None:
        held = PackHolder(row.base_id, is_base=True)
    elif row.version_id is not None:
        held = PackHolder(row.version_id)
    else:
        return
    if proofs.standing(conn, held).corrupt_at is None:
        queue_proof(conn, held, created_by=caller.principal_id)
