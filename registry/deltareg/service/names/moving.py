"""Taking the bytes of a line to another namespace, at whose border sharing ends.

A pack that only the line needs goes along as a row. One that others of the namespace need too is
copied first, under a key of its own that is written down before its first byte: a copy that is not
used, as its process was killed or the line changed meanwhile, is collected like any upload.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.db.session import read, with_retry
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import scopes as queries
from deltareg.db.storage import uploads as upload_queries
from deltareg.db.storage.rows import MovingPackRow
from deltareg.digest import Digest
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.quotas.holding import check_added
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.store import fresh_key


@dataclass(frozen=True, slots=True)
class PackCopies:
    """Copies of packs that are ready to be taken: their keys and sizes, by digest.

    Attributes:
        upload: The upload that they belong to; empty without any.
        keys: The key and the size of each.
    """

    upload: str = ""
    keys: Mapping[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])


def copy_shared(registry: Registry, caller: Caller, line: LineRef, to: LineRef) -> PackCopies:
    """Copy the packs of a line that stay behind as well; nothing where none do.

    Raises:
        Forbidden: The caller does not own both namespaces.
        OverQuota: The other namespace has no room for the line.
    """
    caller.require(Right.ADMIN, on=line)
    caller.require(Right.ADMIN, on=to)
    if line.namespace == to.namespace:
        return PackCopies()
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
        return PackCopies()
    upload = str(uuid4())
    with_retry(
        registry.engine,
        lambda conn: upload_queries.add_upload(
            conn,
            upload_id=upload,
            principal_id=caller.principal_id,
            scope=scope,
            subject="delta",
            target=str(to),
            manifest_digest="",
            manifest=b"",
            request={"moves": str(line)},
        ),
    )
    keys: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(wanted):
        keys[row.digest] = _copy(registry, upload, number, row), row.size_bytes
    return PackCopies(upload, keys)


def move_packs(conn: sa.Connection, delta_id: int, line: LineRef, to: LineRef, copies: PackCopies) -> bool:
    """Let the packs of a line lie in the scope of another namespace; False where copies are lacking."""
    scope = namespace_scope(to.namespace)
    rows = queries.packs_of_line(conn, delta_id, namespace_scope(line.namespace))
    there = queries.sound_in(conn, scope, _digests(rows), lock=True)
    if any(row.digest not in copies.keys for row in _to_copy(conn, rows, there, scope)):
        return False
    alone: list[int] = []
    for row in rows:
        after = there.get(row.digest)
        if after is None and row.digest in copies.keys:
            key, size = copies.keys[row.digest]
            after = pack_queries.adopt(conn, scope=scope, digest=row.digest, size_bytes=size, physical_key=key)
        if after is None:
            alone.append(row.id)
        else:
            queries.need_instead(conn, delta_id, before=row.id, after=after)
    queries.take_along(conn, alone, scope)
    if copies.upload:
        upload_queries.close_upload(conn, copies.upload, state="complete")
    return True


def _to_copy(
    conn: sa.Connection, rows: Sequence[MovingPackRow], there: Mapping[str, int], scope: str
) -> list[MovingPackRow]:
    unsound = queries.unsound_in(conn, scope, _digests(rows))
    return [row for row in rows if row.digest not in there and (row.is_shared or row.digest in unsound)]


def _digests(rows: Sequence[MovingPackRow]) -> list[str]:
    return [row.digest for row in rows]


def _copy(registry: Registry, upload: str, number: int, row: MovingPackRow) -> str:
    key = fresh_key(Digest.parse(row.digest), attempt=uuid4())
    pack = with_retry(
        registry.engine, lambda conn: upload_queries.add_upload_pack(conn, upload, number=number, physical_key=key)
    )
    size = registry.store.write(key, registry.store.read(row.physical_key, 0, row.size_bytes))
    with_retry(
        registry.engine, lambda conn: upload_queries.receive_upload_pack(conn, pack, digest=row.digest, size_bytes=size)
    )
    return key
