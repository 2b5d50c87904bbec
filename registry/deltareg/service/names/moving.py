"""Taking the bytes of a line to another namespace, at whose border sharing ends.

A pack that only the line needs goes along as a row. One that others of the namespace need too is
copied first, under a key of its own that is written down before its first byte. The copies belong to
an upload, and become packs only while that upload is open and locked: a copy that is not used, as its
process was killed or the line changed meanwhile, is collected like any upload.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.db.quotas.limits import EACH_PERSON
from deltareg.db.quotas.usage import holders_of_packs, lock_usage
from deltareg.db.session import read, with_retry
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import scopes as queries
from deltareg.db.storage import uploads as upload_queries
from deltareg.db.storage.rows import MovingPackRow
from deltareg.db.storage.uploads import OpenUpload
from deltareg.digest import Digest, Hasher
from deltareg.errors import BlobMissing, IntegrityFailure
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.quotas.holding import check_added
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.store import fresh_key


def copy_shared(registry: Registry, caller: Caller, line: LineRef, to: LineRef) -> str | None:
    """Copy the packs of a line that stay behind as well; return the upload that has the copies.

    Returns:
        The id of the upload; empty if nothing has to be copied, None if the line changed meanwhile.

    Raises:
        Forbidden: The caller does not own both namespaces.
        OverQuota: The other namespace has no room for the line.
        IntegrityFailure: A pack that is to be copied is damaged.
    """
    caller.require(Right.ADMIN, on=line)
    caller.require(Right.ADMIN, on=to)
    if line.namespace == to.namespace:
        return ""
    scope = namespace_scope(to.namespace)
    with read(registry.engine) as conn:
        delta = delta_queries.delta_row(conn, line.namespace, line.name)
        rows: Sequence[MovingPackRow] = ()
        if delta is not None:
            rows = queries.packs_of_line(conn, delta.id, namespace_scope(line.namespace))
        there = queries.sound_in(conn, scope, _digests(rows), lock=False)
        check_added(conn, scope, None, sum(row.size_bytes for row in rows if row.digest not in there))
        wanted = _to_copy(conn, rows, there, scope)
    if not wanted:
        return ""
    upload_id = str(uuid4())
    with_retry(
        registry.engine,
        lambda conn: upload_queries.add_upload(
            conn,
            upload_id=upload_id,
            principal_id=caller.principal_id,
            scope=scope,
            subject="delta",
            target=str(to),
            manifest_digest="",
            manifest=b"",
            # Of a run that nobody holds: no request adds to it or completes it.
            request={"moves": str(line), "run": "moving", "fence": 0},
        ),
    )
    try:
        for number, row in enumerate(wanted):
            _copy(registry, upload_id, number, row)
    except BlobMissing:
        discard_copies(registry, upload_id)
        return None
    except BaseException:
        discard_copies(registry, upload_id)
        raise
    return upload_id


def discard_copies(registry: Registry, upload_id: str) -> None:
    """Give up copies that were not used; collection deletes them."""
    if upload_id:
        with_retry(registry.engine, lambda conn: upload_queries.close_upload(conn, upload_id, state="aborted"))


def lock_counts(conn: sa.Connection, delta_id: int, line: LineRef, to: LineRef, *, by: Collection[int]) -> None:
    """Lock the counts that a move changes, before any pack: both namespaces', and those of who sent or sends it."""
    scopes = {namespace_scope(line.namespace), namespace_scope(to.namespace)}
    rows = queries.packs_of_line(conn, delta_id, namespace_scope(line.namespace))
    payers = holders_of_packs(conn, [row.id for row in rows])
    lock_usage(conn, scopes | payers | {f"{EACH_PERSON}{principal_id}" for principal_id in by})


def move_packs(conn: sa.Connection, delta_id: int, line: LineRef, to: LineRef, copies: OpenUpload | None) -> bool:
    """Let the packs of a line lie in the scope of another namespace; False where copies are lacking."""
    scope, before = namespace_scope(to.namespace), namespace_scope(line.namespace)
    # Locked first and looked at next: a push that needs one of them as well has committed by then, or waits.
    queries.lock_packs_of_line(conn, delta_id, before)
    rows = queries.packs_of_line(conn, delta_id, before)
    there = queries.sound_in(conn, scope, _digests(rows), lock=True)
    received = {} if copies is None else copies.received
    if any(row.digest not in received for row in _to_copy(conn, rows, there, scope)):
        return False
    alone: list[int] = []
    for row in rows:
        after = there.get(row.digest)
        if after is None and copies is not None and row.digest in copies.received:
            after = pack_queries.adopt(conn, copies, row.digest)
        if after is None:
            alone.append(row.id)
        else:
            queries.need_instead(conn, delta_id, before=row.id, after=after)
    queries.take_along(conn, alone, scope)
    if copies is not None:
        upload_queries.close_upload(conn, copies.id, state="complete")
    return True


def _to_copy(
    conn: sa.Connection, rows: Sequence[MovingPackRow], there: Mapping[str, int], scope: str
) -> list[MovingPackRow]:
    unsound = queries.unsound_in(conn, scope, _digests(rows))
    return [row for row in rows if row.digest not in there and (row.is_shared or row.digest in unsound)]


def _digests(rows: Sequence[MovingPackRow]) -> list[str]:
    return [row.digest for row in rows]


def _copy(registry: Registry, upload_id: str, number: int, row: MovingPackRow) -> None:
    """Copy a pack; what was read is hashed on its way.

    Raises:
        BlobMissing: Its object is gone: the pack has another one by now, or is not needed any more.
        IntegrityFailure: Its object is damaged.
    """
    digest = Digest.parse(row.digest)
    key = fresh_key(digest, attempt=uuid4())
    pack = with_retry(
        registry.engine, lambda conn: upload_queries.add_upload_pack(conn, upload_id, number=number, physical_key=key)
    )
    hasher = sha256()
    size = registry.store.write(key, _hash_along(registry.store.read(row.physical_key, 0, row.size_bytes), hasher))
    if hasher.hexdigest() != digest.hex:
        raise IntegrityFailure(
            f"pack {digest.short} is damaged, and cannot be copied to another namespace",
            fix="repair it first: deltareg fsck --read-data --repair",
        )
    with_retry(
        registry.engine, lambda conn: upload_queries.receive_upload_pack(conn, pack, digest=row.digest, size_bytes=size)
    )


def _hash_along(chunks: Iterable[bytes], hasher: Hasher) -> Iterator[bytes]:
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
