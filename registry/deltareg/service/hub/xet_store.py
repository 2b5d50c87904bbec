"""The small Xet store: clients send xorbs and shards to an area, and files come out of it.

An area belongs to one person and one line. It is deleted once a version is made of it, or when it
is abandoned. Nothing in it is served or shared, and no Xet hash is trusted: each file is assembled,
checked against the sha256 by which a commit will name it, and staged like any other.
"""

import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import SEEK_END
from typing import BinaryIO
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.hub import hub_areas as queries
from deltareg.db.hub.hub_drafts import staged_bytes, staged_objects
from deltareg.db.hub.rows import AreaRow, StagedRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.digest import Digest
from deltareg.errors import InvalidInput, NotFound, QuotaExceeded, Unauthenticated
from deltareg.refs import LineRef
from deltareg.service.access.founding import require_push
from deltareg.service.hub.shards import ShardFile, ShardTerm, read_shard
from deltareg.service.hub.xorbs import XORB_BYTES, find_chunks, unpack
from deltareg.service.push.staging import TICKET_S, check_room, hash_ticket, hold, scope_of, stage
from deltareg.service.quotas.holding import check_added, within_quotas
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry
from deltareg.store import BlobStore, fresh_key

MOST_XORBS = 1_024
MOST_RATIO = 16
"""How many bytes of files may come of each byte that was sent, above `FREE_BYTES`: weights pack to about one."""
FREE_BYTES = 16 << 20
MOST_AREAS = 64
"""To how many lines somebody may be sending by Xet at a time."""
_Place = tuple[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class AreaTicket:
    """The right to send to an area for a while: the name of the area, and the token to send."""

    area: str
    ticket: str
    lives_s: int = TICKET_S


def give_area(registry: Registry, caller: Caller, line: LineRef) -> AreaTicket:
    """Return a ticket for an area of somebody who may push to a line: the open one, or a new one.

    Raises:
        Forbidden: The caller may not push there.
        QuotaExceeded: The caller is sending to too many lines, or a quota leaves no room.
    """
    name, ticket = secrets.token_hex(16), secrets.token_hex(16)

    def transaction(conn: sa.Connection) -> str:
        require_push(conn, caller, on=line)
        with within_quotas(conn, scope_of(str(line)), caller.principal_id, needs=("bytes",)):
            area_id = queries.open_area(conn, str(line), caller.principal_id, name=name)
        _check_areas(caller, queries.open_areas(conn, caller.principal_id))
        queries.add_area_ticket(
            conn,
            hash_ticket(ticket),
            area=area_id,
            line=str(line),
            principal_id=caller.principal_id,
            lives_us=TICKET_S * US_PER_S,
        )
        return area_id

    with explain_room(registry.engine):
        return AreaTicket(with_retry(registry.engine, transaction), ticket)


def find_area(registry: Registry, name: str, ticket: str) -> AreaRow:
    """Return the area that a ticket belongs to.

    Raises:
        Unauthenticated: The ticket is not of that area, the area has ended, or an hour has passed.
    """
    with read(registry.engine) as conn:
        area = queries.area_of_ticket(conn, hash_ticket(ticket), name=name)
    if area is None:
        raise Unauthenticated("nothing is taken here by this ticket", fix="push again")
    return area


def take_xorb(registry: Registry, area: AreaRow, name: str, *, size_bytes: int, body: Iterable[bytes]) -> None:
    """Store a xorb in an area; its content is only read when a file is assembled from it.

    Args:
        registry: The database and the store.
        area: The area.
        name: The 64 hexadecimal digits by which shards name it.
        size_bytes: Its length, as announced.
        body: Its bytes.

    Raises:
        InvalidInput: The body has more or fewer bytes.
        QuotaExceeded: The area would hold too much.
        UploadClosed: The area ended while the xorb came in.
    """
    if not 0 < size_bytes <= XORB_BYTES:
        raise InvalidInput(f"a xorb has 1 to {XORB_BYTES} bytes, this one {size_bytes}")
    key = fresh_key(Digest("sha256", name), attempt=uuid4())

    def announce(conn: sa.Connection) -> int:
        if not queries.touch_area(conn, area.id):
            raise _make_not_found()
        count, held_bytes = queries.area_holds(conn, area.name)
        check_room(area.line, held_bytes + size_bytes)
        if count >= MOST_XORBS:
            raise QuotaExceeded(f"{area.line}: {count} xorbs are on the way, at most {MOST_XORBS}")
        with within_quotas(conn, scope_of(area.line), area.principal_id):
            return queries.add_xorb(conn, area, name=name, size_bytes=size_bytes, key=key)

    hold(registry, key, _check_size(body, size_bytes), announce=announce)


def take_shard(registry: Registry, area: AreaRow, body: BinaryIO) -> None:
    """Assemble the files of a shard and stage them; files that are staged already stay as they are.

    Raises:
        InvalidInput: The body is no shard, a xorb is missing, or a file does not have its sha256.
        QuotaExceeded: The files are too large.
    """
    files = {file.sha256: file for file in read_shard(body)}

    def look(conn: sa.Connection) -> tuple[dict[str, StagedRow], set[str]]:
        if not queries.touch_area(conn, area.id):
            raise _make_not_found()
        there = staged_objects(conn, area.line, area.principal_id, files)
        needed_bytes = sum(file.size_bytes for sha256, file in files.items() if sha256 not in there)
        staged = staged_bytes(conn, area.line, area.principal_id)
        check_room(area.line, staged + needed_bytes)
        _, sent_bytes = queries.area_holds(conn, area.name)
        _check_ratio(area.line, staged + needed_bytes, sent_bytes)
        check_added(conn, scope_of(area.line), area.principal_id, needed_bytes)
        return queries.xorbs(conn, area.name), set(there)

    with explain_room(registry.engine):
        xorbs, there = with_retry(registry.engine, look)
    with tempfile.TemporaryFile(prefix="deltareg-xet-") as spool:
        opened = _Xorbs(registry.store, xorbs, spool)
        for sha256, file in files.items():
            if sha256 not in there:
                stage(
                    registry,
                    area.line,
                    area.principal_id,
                    sha256=sha256,
                    size_bytes=file.size_bytes,
                    body=_join_terms(opened, file),
                )


@dataclass(slots=True)
class _Xorbs:
    """The xorbs of an area, each copied to a file when first needed, from where chunks are read.

    Attributes:
        store: The store that holds them.
        rows: Their rows, by name.
        spool: The file that they are copied to.
        places: Where each xorb begins in the file, and where its chunks begin within it.
    """

    store: BlobStore
    rows: Mapping[str, StagedRow]
    spool: BinaryIO
    places: dict[str, _Place] = field(default_factory=dict[str, _Place])

    def chunks(self, term: ShardTerm) -> Iterator[bytes]:
        """Yield the chunks of a term, unpacked.

        Raises:
            InvalidInput: The xorb is missing or malformed, or has no such chunks.
        """
        start, offsets = self.places.get(term.xorb) or self._bring(term.xorb)
        if term.end >= len(offsets):
            raise InvalidInput(f"a shard names chunk {term.end - 1} of a xorb of {len(offsets) - 1}")
        for number in range(term.begin, term.end):
            begin, end = offsets[number], offsets[number + 1]
            yield unpack(self._read(start + begin, end - begin))

    def _bring(self, name: str) -> _Place:
        row = self.rows.get(name)
        if row is None:
            raise InvalidInput("a shard names a xorb that was not sent here", fix="push again")
        start = self.spool.seek(0, SEEK_END)
        for part in self.store.read(row.physical_key, 0, row.size_bytes):
            self.spool.write(part)

        def read_at(at: int, size_bytes: int) -> bytes:
            return self._read(start + at, min(size_bytes, row.size_bytes - at))

        place = (start, find_chunks(read_at, row.size_bytes))
        self.places[name] = place
        return place

    def _read(self, at: int, size_bytes: int) -> bytes:
        self.spool.seek(at)
        return self.spool.read(size_bytes)


def _check_areas(caller: Caller, count: int) -> None:
    """Refuse more lines at a time than somebody pushes to: each may have `FREE_BYTES` for nothing.

    Raises:
        QuotaExceeded: There are more.
    """
    if count > MOST_AREAS:
        raise QuotaExceeded(
            f"{caller.principal} pushes to {MOST_AREAS} lines by Xet that have no version yet, which is the most",
            fix="finish one of them first; what rests is collected with: deltareg gc run",
        )


def _check_ratio(line: str, files_bytes: int, sent_bytes: int) -> None:
    """Refuse files that are put together from next to nothing: disks fill faster than they are sent.

    Raises:
        QuotaExceeded: They are.
    """
    most = FREE_BYTES + MOST_RATIO * sent_bytes
    if files_bytes > most:
        raise QuotaExceeded(
            f"{line}: {files_bytes} bytes of files from {sent_bytes} that were sent, at most {most} come of those",
            fix=f"push it with: deltareg push PATH {line} --base NAME",
        )


def _join_terms(xorbs: _Xorbs, file: ShardFile) -> Iterator[bytes]:
    for term in file.terms:
        size = 0
        for chunk in xorbs.chunks(term):
            size += len(chunk)
            yield chunk
        if size != term.size_bytes:
            raise InvalidInput(f"a part of a file has {size} bytes, its shard says {term.size_bytes}")


def _check_size(body: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    size = 0
    for part in body:
        size += len(part)
        if size > size_bytes:
            break
        yield part
    if size != size_bytes:
        raise InvalidInput(f"{size_bytes} bytes were announced, these are others", fix="push again")


def _make_not_found() -> NotFound:
    return NotFound("the area that this is sent to has ended", fix="push again")
