"""Uploads: pushes in progress, and the physical keys that they write to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.storage.rows import ReceivedPackRow, UploadRow
from deltareg.db.tables import upload_packs, uploads


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that the transaction has locked and found open, made by `lock_open` alone.

    Collection deletes the keys of closed uploads. So only the keys of an open one, locked until
    the transaction ends, may become packs.

    Attributes:
        id: The upload.
        scope: The scope that its packs belong to.
        received: The packs that it has received and that are durable, by digest.
    """

    id: str
    scope: str
    received: Mapping[str, ReceivedPackRow]


def add_upload(
    conn: sa.Connection,
    *,
    upload_id: str,
    principal_id: int,
    scope: str,
    subject: str,
    target: str,
    manifest_digest: str,
    manifest: bytes,
    request: Mapping[str, object],
) -> None:
    """Insert an open upload."""
    conn.execute(
        sa.insert(uploads).values(
            id=upload_id,
            principal_id=principal_id,
            scope=scope,
            subject=subject,
            target=target,
            manifest_digest=manifest_digest,
            manifest=manifest,
            request=dict(request),
            touched_at=now_us(),
        )
    )


def open_upload_for(conn: sa.Connection, *, principal_id: int, target: str, manifest_digest: str) -> UploadRow | None:
    """Find the principal's open upload of the same manifest to the same target, to continue it."""
    query = (
        sa.select(uploads)
        .where(
            uploads.c.principal_id == principal_id,
            uploads.c.target == target,
            uploads.c.manifest_digest == manifest_digest,
            uploads.c.state == "open",
        )
        .order_by(uploads.c.created_at.desc())
        .limit(1)
    )
    return fetch_one(conn, query, UploadRow)


def upload_row(conn: sa.Connection, upload_id: str, *, lock: bool = False) -> UploadRow | None:
    """Find an upload; with `lock`, its state cannot change until the transaction ends."""
    query = sa.select(uploads).where(uploads.c.id == upload_id)
    if lock:
        query = query.with_for_update()
    return fetch_one(conn, query, UploadRow)


def lock_open(conn: sa.Connection, upload_id: str) -> OpenUpload | None:
    """Lock an upload until the transaction ends; None if it is not open (any more)."""
    row = upload_row(conn, upload_id, lock=True)
    if row is None or row.state != "open":
        return None
    return OpenUpload(row.id, row.scope, {pack.digest: pack for pack in received_packs(conn, upload_id)})


def touch_upload(conn: sa.Connection, upload_id: str) -> bool:
    """Record activity on an open upload; return False if it is not open any more."""
    update = sa.update(uploads).where(uploads.c.id == upload_id, uploads.c.state == "open").values(touched_at=now_us())
    return conn.execute(update).rowcount == 1


def close_upload(
    conn: sa.Connection, upload_id: str, *, state: str, version_id: int | None = None, base_id: int | None = None
) -> bool:
    """Close an upload for good and drop its manifest; return False if it was closed before."""
    values = {"state": state, "version_id": version_id, "base_id": base_id, "manifest": None}
    update = (
        sa.update(uploads)
        .where(uploads.c.id == upload_id, uploads.c.state == "open")
        .values(**values, touched_at=now_us())
    )
    return conn.execute(update).rowcount == 1


def add_upload_pack(
    conn: sa.Connection, upload_id: str, *, number: int, physical_key: str, size_bytes: int | None = None
) -> int:
    """Register a physical key before the first byte is written to it; return the row id.

    `size_bytes` is how many are announced, which count as stored until they are.
    """
    insert = sa.insert(upload_packs).values(
        upload_id=upload_id, number=number, physical_key=physical_key, size_bytes=size_bytes
    )
    return int(conn.execute(insert.returning(upload_packs.c.id)).scalar_one())


def receive_upload_pack(conn: sa.Connection, upload_pack_id: int, *, digest: str, size_bytes: int) -> bool:
    """Record that a pack is durable and has this digest; False if it was given up meanwhile."""
    update = (
        sa.update(upload_packs)
        .where(upload_packs.c.id == upload_pack_id, upload_packs.c.state == "writing")
        .values(state="received", digest=digest, size_bytes=size_bytes)
    )
    return conn.execute(update).rowcount == 1


def drop_upload_pack(conn: sa.Connection, upload_pack_id: int) -> None:
    """Record that a pack did not come, and that nothing is left of it."""
    is_it = sa.and_(upload_packs.c.id == upload_pack_id, upload_packs.c.state == "writing")
    conn.execute(sa.update(upload_packs).where(is_it).values(state="dropped"))


def received_packs(conn: sa.Connection, upload_id: str) -> Sequence[ReceivedPackRow]:
    """List the packs that an upload has received, oldest first."""
    query = (
        sa.select(upload_packs.c.digest, upload_packs.c.size_bytes, upload_packs.c.physical_key)
        .where(upload_packs.c.upload_id == upload_id, upload_packs.c.state == "received")
        .order_by(upload_packs.c.id)
    )
    return fetch_all(conn, query, ReceivedPackRow)


def uploaded_bytes(conn: sa.Connection, upload_id: str) -> int:
    """Sum the bytes of the packs that an upload received, adopted or not."""
    query = sa.select(sa.func.coalesce(sa.func.sum(upload_packs.c.size_bytes), 0)).where(
        upload_packs.c.upload_id == upload_id, upload_packs.c.state.in_(["received", "adopted"])
    )
    return int(conn.execute(query).scalar_one())
