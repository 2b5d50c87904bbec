"""Damage: the store has lost or changed bytes that it once had. No sender is to blame.

A pack with a damaged object is marked, and nothing relies on it from then on: its pieces are
offered to nobody, so the next push sends them again, under a fresh key that replaces the damaged
object. A version that needs such a pack is served in a former form that is whole, if one is kept.
Otherwise it is corrupt until it is pushed again, and its error has the command for that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import sqlalchemy as sa

from deltareg.codec import OrderedPool, cores
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.session import read, with_retry
from deltareg.db.storage import forms, proofs
from deltareg.db.storage import uploads as upload_queries
from deltareg.db.storage.rows import PackRow, UploadRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import collection
from deltareg.db.upkeep import damage as queries
from deltareg.digest import Digest, sha256_over
from deltareg.errors import BlobMissing, DeltaregError, IntegrityFailure, StoreUnavailable
from deltareg.identity.storage_map import StorageMap
from deltareg.service.corrupt import push_again
from deltareg.service.push.corruption import end_work, replace_with_proposed
from deltareg.service.push.revert import take_former
from deltareg.service.push.subject import subject_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.prove import form_key, queue_proof
from deltareg.store import BlobStore

QUICK_BYTES = 64 << 20
"""How much of a version is read before somebody is told that it is there already."""


@dataclass(frozen=True, slots=True)
class DamagedHolder:
    """A version or a base that needs a damaged pack.

    Attributes:
        name: Its name.
        is_served: Whether it is already served whole, in another form.
        fix: The command that heals it; empty if nothing has to be done.
    """

    name: str
    is_served: bool
    fix: str


def what_is_wrong(store: BlobStore, row: PackRow, *, reads: bool) -> str:
    """Return what is wrong with the object of a pack; empty if nothing is.

    What was damaged has the same wrong bytes whenever it is read. A store, or whatever stands before it, that
    lies for a moment does not; marked for that, a base would hold up all that stands on it.

    Args:
        store: The store.
        row: The pack.
        reads: Whether to read and hash it; otherwise only its size is checked.

    Raises:
        StoreUnavailable: The store gives other bytes each time.
    """
    size = store.size(row.physical_key)
    if size is None:
        return f"the store has no object {row.physical_key}"
    if size != row.size_bytes:
        return f"{row.physical_key} has {size} bytes instead of {row.size_bytes}"
    if not reads:
        return ""
    try:
        first = str(sha256_over(store.read(row.physical_key)))
        second = first if first == row.digest else str(sha256_over(store.read(row.physical_key)))
    except (BlobMissing, IntegrityFailure) as error:
        return error.message
    if second == row.digest:
        return ""
    if second != first:
        raise StoreUnavailable(f"the store gives other bytes of {row.physical_key} each time it is asked")
    return f"{row.physical_key} holds {first}"


def find_damage(
    registry: Registry, by: Caller, rows: Sequence[PackRow], *, most_bytes: int | None = None
) -> list[DamagedHolder]:
    """Check packs, several at once; mark the damaged ones and return what needs them.

    Args:
        registry: The database and the store.
        by: Who checks.
        rows: The packs.
        most_bytes: How many bytes to read at most; of further packs only the size is checked.
    """
    read_up_to = accumulate(row.size_bytes for row in rows)
    reads = [most_bytes is None or total <= most_bytes for total in read_up_to]

    def look(number: int) -> str:
        return what_is_wrong(registry.store, rows[number], reads=reads[number])

    hurt: list[DamagedHolder] = []
    with OrderedPool(min(cores(), len(rows)) or 1) as pool:
        for row, why in zip(rows, pool.map(look, range(len(rows))), strict=True):
            if why:
                mark = partial(mark_damaged, caller=by, row=row, why=why)
                hurt += with_retry(registry.engine, mark)
    return hurt


def find_damage_of(
    registry: Registry, by: Caller, held: PackHolder, *, most_bytes: int | None = None
) -> list[DamagedHolder]:
    """Check all stored bytes of a version or a base, and mark what is damaged."""
    with read(registry.engine) as conn:
        rows = queries.pack_rows(conn, held)
        lost = what_is_lost(conn, held)
    damaged = find_damage(registry, by, rows, most_bytes=most_bytes)
    if not lost:
        return damaged
    hurt = partial(hurt_by, caller=by, held=held, why=lost)
    return [*damaged, with_retry(registry.engine, hurt)]


def what_is_lost(conn: sa.Connection, held: PackHolder) -> str:
    """Return what rows are lost of a version or a base that has its bytes; empty for none."""
    try:
        raw = proofs.content(conn, held).storage_map
        digests = {str(pack.digest) for pack in StorageMap.decode(raw).packs} if raw else set[str]()
    except DeltaregError as error:
        return f"its documents: {error.message}"
    missing = sorted(digests - proofs.packs_of(conn, held).keys())
    return f"nothing says that it needs the pack {missing[0]}" if missing else ""


def is_damaged(conn: sa.Connection, held: PackHolder, storage: StorageMap) -> bool:
    """Whether a version or a base, stored as a map says, is known to have lost some of its bytes.

    An earlier read, or a cached copy, says nothing about what is stored now.
    """
    digests = {str(pack.digest) for pack in storage.packs}
    return bool(queries.bad_packs(conn, held)) or not digests <= proofs.packs_of(conn, held).keys()


def find_damage_relied_on(registry: Registry, by: Caller, upload: UploadRow, keys: Mapping[Digest, str]) -> bool:
    """Check the packs that an upload relies on but did not bring; return whether any is damaged."""
    with read(registry.engine) as conn:
        received = {row.digest for row in upload_queries.received_packs(conn, upload.id)}
        relied_on = {str(digest) for digest in keys} - received
        rows = queries.packs_by_digest(conn, upload.scope, relied_on)
    return bool(find_damage(registry, by, rows)) or _is_bad(registry, upload.scope, relied_on)


def mark_damaged(conn: sa.Connection, caller: Caller, row: PackRow, why: str) -> list[DamagedHolder]:
    """Mark a pack as damaged and withdraw its pieces; return what needs it.

    Empty if the pack has another object by now.
    """
    if not queries.mark_bad(conn, row.id, physical_key=row.physical_key, why=why):
        return []
    collection.forget_pieces(conn, [row.id])
    hurt = [hurt_by(conn, caller, held, why=why) for held in queries.needing(conn, row.id)]
    for form in forms.forms_with(conn, row.id):  # of no use to anybody any more
        forms.end_form(conn, form.id, state="released" if form.state == "former" else "dropped")
        run_queries.end_queued(conn, form_key(form.id), result={})
    return hurt


def hurt_by(conn: sa.Connection, caller: Caller, held: PackHolder, *, why: str) -> DamagedHolder:
    """Handle damage to a version or a base: serve another form, or mark it as corrupt."""
    standing = proofs.standing(conn, held, lock=True)
    name = subject_of(conn, held).name
    again = push_again(conn, held)
    proofs.forget_pieces(conn, held)
    if standing.corrupt_at is None and standing.deleted_at is None:
        proofs.mark_corrupt(conn, held)
        if _serve_another(conn, caller, held):
            return DamagedHolder(name, is_served=True, fix="")
        end_work(conn, held)
        subject = subject_of(conn, held)
        caller.record(
            conn,
            subject.lied,
            name,
            on=subject.on,
            before={"proof": "proven" if standing.is_proven else "claimed"},
            after={"proof": "corrupt", "damaged": why, "fix": again},
        )
    return DamagedHolder(name, is_served=False, fix=again)


def heal_needing(
    conn: sa.Connection, caller: Caller, pack_ids: Sequence[int], *, but: PackHolder | None = None
) -> list[str]:
    """Mark what needs packs that have sound objects again as claimed; return the healed names.

    Each is claimed, as before its proof, and a proof is queued. `but` is left alone: its bytes are
    being replaced.
    """
    waiting = dict.fromkeys(held for one in pack_ids for held in queries.needing(conn, one))
    healed: list[str] = []
    for held in waiting:
        if held == but:
            continue
        standing = proofs.standing(conn, held, lock=True)
        if standing.corrupt_at is None or queries.bad_packs(conn, held):
            continue
        if what_is_lost(conn, held):
            continue
        proofs.claim_anew(conn, held, sent_by=standing.sender_id)
        if standing.deleted_at is None:
            queue_proof(conn, held, created_by=None, is_anew=True)
        subject = subject_of(conn, held)
        caller.record(
            conn, subject.healed, subject.name, on=subject.on, before={"proof": "corrupt"}, after={"proof": "claimed"}
        )
        healed.append(subject.name)
    return healed


def _serve_another(conn: sa.Connection, caller: Caller, held: PackHolder) -> bool:
    """Serve a version in another form that is whole, if there is one; return whether there was."""
    if held.is_base:
        return False
    version = version_queries.version_by_id(conn, held.row_id)
    try:
        if take_former(conn, caller, version) is not None:
            return True
        sound = [
            form
            for form in forms.forms_of(conn, held.row_id, state="proposed")
            if form.why == "push" and forms.is_sound(conn, form.id)
        ]
        return bool(sound) and replace_with_proposed(conn, sound[-1])
    except DeltaregError:  # its documents are damaged as well
        return False


def _is_bad(registry: Registry, scope: str, digests: Iterable[str]) -> bool:
    with read(registry.engine) as conn:
        return bool(queries.bad_among(conn, scope, digests))
