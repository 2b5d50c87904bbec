"""Staged bytes: what a hub client has sent but no version contains yet.

They lie in the store under fresh keys, like packs, each with a row that is written first. They
belong to a line and their sender; nobody else can read them or learn that they exist.
"""

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.hub import hub_areas as area_queries
from deltareg.db.hub import hub_drafts as queries
from deltareg.db.hub.rows import StagedRow, TicketRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep.holds import is_held
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure, InvalidInput, NotFound, QuotaExceeded, UploadClosed
from deltareg.service.quotas.holding import check_added, within_quotas
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.store import BlobStore, fresh_key

MOST_BYTES = 2 << 30
"""What somebody may have staged for one line."""
TICKET_S = 3_600
_BATCH = 200


def stage(
    registry: Registry, line: str, principal_id: int, *, sha256: str, size_bytes: int, body: Iterable[bytes]
) -> None:
    """Store a file if its length and digest are as announced; otherwise store nothing.

    Raises:
        InvalidInput: Its length or digest is another one.
        QuotaExceeded: That person has staged too much for that line, or a quota leaves no room.
    """
    key = fresh_key(Digest("sha256", sha256), attempt=uuid4())

    def announce(conn: sa.Connection) -> int:
        there = queries.staged_bytes(conn, line, principal_id)
        check_room(line, there + size_bytes)
        with within_quotas(conn, scope_of(line), principal_id):
            return queries.add_staged(conn, line, principal_id, sha256=sha256, size_bytes=size_bytes, key=key)

    hold(registry, key, _check_bytes(body, sha256, size_bytes), announce=announce)


def hold(registry: Registry, key: str, body: Iterable[bytes], *, announce: Callable[[sa.Connection], int]) -> None:
    """Store an object as a whole, or not at all.

    Args:
        registry: The database and the store.
        key: A fresh key.
        body: Its bytes.
        announce: Writes its row before the first byte, and returns the id of the row.

    Raises:
        UploadClosed: It was given up while the bytes came in.
    """
    with explain_room(registry.engine):
        row_id = with_retry(registry.engine, announce)
    try:
        registry.store.write(key, body)
    except BaseException:
        registry.store.delete(key)
        with_retry(registry.engine, partial(queries.forget_staged, ids=[row_id]))
        raise
    if not with_retry(registry.engine, partial(queries.arrive, staged_id=row_id)):
        registry.store.delete(key)
        raise UploadClosed("the file was given up while it came in", fix="push again")


def scope_of(line: str) -> str:
    """Return the scope that what is staged for a line counts against."""
    return namespace_scope(line.partition("/")[0])


def check_room(line: str, size_bytes: int) -> None:
    """Refuse more staged bytes than one person may have for a line.

    Raises:
        QuotaExceeded: There would be more.
    """
    if size_bytes > MOST_BYTES:
        raise QuotaExceeded(
            f"{line}: {size_bytes} bytes on the way, at most {MOST_BYTES} come by this interface",
            fix=f"push it with: deltareg push PATH {line} --base NAME",
        )


def check_staging(registry: Registry, line: str, caller: Caller, size_bytes: int) -> None:
    """Refuse what quotas leave no room for before any of it is sent.

    Raises:
        OverQuota: There is no room.
    """
    with explain_room(registry.engine), read(registry.engine) as conn:
        check_added(conn, scope_of(line), caller.principal_id, size_bytes)


def find_staged(registry: Registry, line: str, caller: Caller, digests: Collection[str]) -> Mapping[str, StagedRow]:
    """Return, by sha256, those files that are staged; they are kept for a while from now on."""

    def transaction(conn: sa.Connection) -> Mapping[str, StagedRow]:
        staged = queries.staged_objects(conn, line, caller.principal_id, digests)
        queries.touch(conn, staged.values())
        return staged

    return with_retry(registry.engine, transaction) if digests else {}


def read_staged(store: BlobStore, row: StagedRow, begin: int, end: int) -> Iterator[memoryview]:
    """Yield bytes of a staged file; a read of the whole file is checked against its digest."""
    hashed = hashlib.sha256()
    for chunk in store.read(row.physical_key, begin, end):
        hashed.update(chunk)
        yield memoryview(chunk)
    if end - begin == row.size_bytes and hashed.hexdigest() != row.sha256:
        raise IntegrityFailure(f"what was staged as {row.sha256} is not that any more")


def let_go(registry: Registry, line: str, caller: Caller, digests: Collection[str]) -> None:
    """Delete staged files that a version contains now, and what they were assembled from."""

    def transaction(conn: sa.Connection) -> list[StagedRow]:
        xorbs = area_queries.end_area(conn, line, caller.principal_id)
        return [*queries.give_up(conn, line, caller.principal_id, digests), *xorbs]

    _delete(registry.engine, registry.store, with_retry(registry.engine, transaction))


def sweep(engine: sa.Engine, store: BlobStore, *, idle_s: float) -> int:
    """Delete drafts and staged files that were idle for so long; return how many objects."""
    idle_us, swept = round(idle_s * US_PER_S), 0
    with_retry(engine, partial(queries.end_idle_drafts, idle_us=idle_us))
    with_retry(engine, partial(area_queries.end_idle_areas, idle_us=idle_us))
    while True:
        given_up = with_retry(engine, partial(queries.give_up_idle, idle_us=idle_us, limit=_BATCH))
        if not given_up:
            return swept
        if not _delete(engine, store, given_up):
            return swept
        swept += len(given_up)


def give_ticket(registry: Registry, line: str, caller: Caller, *, sha256: str, size_bytes: int) -> str:
    """Create the right to send one file, as part of an address, since clients send no token there."""
    ticket = secrets.token_hex(16)
    with_retry(
        registry.engine,
        partial(
            queries.add_ticket,
            ticket=hash_ticket(ticket),
            line=line,
            principal_id=caller.principal_id,
            sha256=sha256,
            size_bytes=size_bytes,
            lives_us=TICKET_S * US_PER_S,
        ),
    )
    return ticket


def take_ticket(registry: Registry, ticket: str) -> TicketRow:
    """Return what a ticket allows.

    Raises:
        NotFound: There is no such ticket, or it has expired.
    """
    with read(registry.engine) as conn:
        row = queries.ticket_row(conn, hash_ticket(ticket))
    if row is None:
        raise NotFound("this address to send a file to is not known, or an hour old", fix="push again")
    return row


def hash_ticket(ticket: str) -> str:
    """Return the hash that is stored of a ticket."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def _check_bytes(body: Iterable[bytes], sha256: str, size_bytes: int) -> Iterator[bytes]:
    hashed, size = hashlib.sha256(), 0
    for chunk in body:
        size += len(chunk)
        if size > size_bytes:
            break
        hashed.update(chunk)
        yield chunk
    if size != size_bytes or hashed.hexdigest() != sha256:
        raise InvalidInput(
            "the bytes that came are not those that were announced (length or sha256)",
            fix="push again, when nothing writes to the folder",
        )


def _delete(engine: sa.Engine, store: BlobStore, rows: Collection[StagedRow]) -> bool:
    """Delete what was given up; not while a backup runs, and a later sweep finds it."""
    with read(engine) as conn:
        if is_held(conn):
            return False
    for row in rows:
        store.delete(row.physical_key)
    with_retry(engine, partial(queries.forget_staged, ids=[row.id for row in rows]))
    return True
