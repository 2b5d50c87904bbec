"""The packs of a push: each comes under a fresh key, hashed on the way, and counts against quotas.

The physical key is written to the database before its first byte to the store, with its length, and
is never used twice (protocol D, docs/design.md, Stored form).
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.session import with_retry
from deltareg.db.storage import uploads as queries
from deltareg.digest import Digest
from deltareg.errors import DeltaregError, IntegrityFailure, OverQuota, QuotaExceeded, StoreUnavailable, UploadClosed
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.push.uploads import abort_upload, find_open, is_of_run
from deltareg.service.quotas.holding import within_quotas
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import PACK_BYTES_MAX, Caller, Registry
from deltareg.store import fresh_key
from deltareg.wire import ReceivedPack

_AGAIN = "run the same push again; what is stored already is not sent twice"


def receive_pack(
    registry: Registry,
    caller: Caller,
    upload_id: str,
    *,
    number: int,
    digest: Digest,
    body: Iterable[bytes],
    size_bytes: int | None = None,
    new_id: Callable[[], UUID] = uuid4,
) -> ReceivedPack:
    """Stream one pack to a fresh key; the server's own hash decides whether it counts.

    Its length counts against quotas before its first byte: as announced in `size_bytes`, or as much
    as a pack may have.

    Raises:
        UploadClosed: The upload is not open (any more).
        LeaseLost: It belongs to a run that the caller does not hold (any more).
        IntegrityFailure: The bytes are not what `digest` says; nothing is kept.
        QuotaExceeded: The pack is larger than a pack may be.
        OverQuota: A quota leaves no room for it; the upload is aborted and what it held is free.
    """
    if not caller.may(Right.VERIFY, on=SOMEWHERE):
        caller.require(Right.PUSH, on=SOMEWHERE)
    key = fresh_key(digest, attempt=new_id())
    most = PACK_BYTES_MAX if size_bytes is None else size_bytes

    def announce(conn: sa.Connection) -> int:
        row = find_open(conn, caller, upload_id)
        # The registry's own work is charged to the namespace, and refused to nobody.
        is_limited = nullcontext() if is_of_run(row) else within_quotas(conn, row.scope, row.principal_id)
        with is_limited:
            return queries.add_upload_pack(conn, upload_id, number=number, physical_key=key, size_bytes=most)

    with give_up_when_over(upload_id, registry, caller):
        pack_id = with_retry(registry.engine, announce)
    try:
        size = _store(registry, key, body, number=number, digest=digest, most=most)
    except BaseException:
        with_retry(registry.engine, partial(queries.drop_upload_pack, upload_pack_id=pack_id))
        raise

    def receive(conn: sa.Connection) -> None:
        find_open(conn, caller, upload_id)
        queries.touch_upload(conn, upload_id)
        if not queries.receive_upload_pack(conn, pack_id, digest=str(digest), size_bytes=size):
            raise UploadClosed("the upload was given up meanwhile", fix=_AGAIN)

    with_retry(registry.engine, receive)
    return ReceivedPack(digest=str(digest), size_bytes=size)


@contextmanager
def give_up_when_over(upload_id: str, registry: Registry, caller: Caller) -> Generator[None, None, None]:
    """Abort an upload that a quota stops, so that what it sent takes no room from others.

    Raises:
        OverQuota: It was stopped.
    """
    try:
        with explain_room(registry.engine):
            yield
    except OverQuota:
        abort_upload(registry, caller, upload_id)
        raise


def _store(registry: Registry, key: str, body: Iterable[bytes], *, number: int, digest: Digest, most: int) -> int:
    """Store a pack of the given digest, or nothing; return its length."""
    hasher = hashlib.sha256()
    try:
        size = registry.store.write(key, _hash_chunks(body, hasher.update, most=most))
        _check_digest(hasher.hexdigest(), number, digest)
    except StoreUnavailable:  # it would not take a deletion either; collection finds what it kept
        raise
    except DeltaregError:
        registry.store.delete(key)
        raise
    return size


def _check_digest(found: str, number: int, digest: Digest) -> None:
    if found != digest.hex:
        raise IntegrityFailure(f"pack {number} was announced as {digest.short}, {found[:12]} came", fix=_AGAIN)


def _hash_chunks(body: Iterable[bytes], update: Callable[[bytes], object], *, most: int) -> Iterator[bytes]:
    size = 0
    for chunk in body:
        size += len(chunk)
        if size > PACK_BYTES_MAX:
            raise QuotaExceeded(f"a pack may have {PACK_BYTES_MAX} bytes, this one has more")
        if size > most:
            raise IntegrityFailure(f"a pack was announced with {most} bytes, this one has more", fix=_AGAIN)
        update(chunk)
        yield chunk
