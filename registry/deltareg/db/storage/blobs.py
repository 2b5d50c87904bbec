"""Packs for reading, found only through the version, form or base that needs them."""

import sqlalchemy as sa

from deltareg.db.tables import base_packs, form_packs, packs, version_packs


def pack_of_version(conn: sa.Connection, version_id: int, digest: str) -> tuple[str, int] | None:
    """Return the key and the size of a pack that a version needs."""
    query = (
        sa.select(packs.c.physical_key, packs.c.size_bytes)
        .join(version_packs, version_packs.c.pack_id == packs.c.id)
        .where(version_packs.c.version_id == version_id, packs.c.digest == digest)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def pack_of_form(conn: sa.Connection, form_id: int, digest: str) -> tuple[str, int] | None:
    """Return the key and the size of a pack that a form holds."""
    query = (
        sa.select(packs.c.physical_key, packs.c.size_bytes)
        .join(form_packs, form_packs.c.pack_id == packs.c.id)
        .where(form_packs.c.form_id == form_id, packs.c.digest == digest)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def pack_of_base(conn: sa.Connection, base_id: int, digest: str) -> tuple[str, int] | None:
    """Return the key and the size of a pack that a base needs."""
    query = (
        sa.select(packs.c.physical_key, packs.c.size_bytes)
        .join(base_packs, base_packs.c.pack_id == packs.c.id)
        .where(base_packs.c.base_id == base_id, packs.c.digest == digest)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])
