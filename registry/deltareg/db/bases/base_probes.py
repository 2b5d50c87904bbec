"""The general probe sets of bases, and the figures that workers measured of bases on them."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.bases.rows import FiguresRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import base_figures, base_probes, signing_keys


def probes_document(conn: sa.Connection, base_id: int) -> bytes | None:
    """Return the general probe set of a base; None if none has been drawn yet."""
    query = sa.select(base_probes.c.document).where(base_probes.c.base_id == base_id)
    document = conn.execute(query).scalar()
    return None if document is None else bytes(document)


def add_probes(conn: sa.Connection, base_id: int, *, digest: str, document: bytes) -> None:
    """Store the general probe set of a base; an existing one stays."""
    conn.execute(
        insert(conn, base_probes)
        .values(base_id=base_id, digest=digest, document=document, created_at=now_us())
        .on_conflict_do_nothing(index_elements=["base_id"])
    )


def figures_rows(conn: sa.Connection, base_id: int) -> Sequence[FiguresRow]:
    """List workers' figures of a base, oldest first; those signed by a revoked key are left out."""
    query = (
        sa.select(
            base_figures.c.surroundings,
            base_figures.c.keyid,
            base_figures.c.envelope,
            base_figures.c.created_at,
            signing_keys.c.name.label("signer"),
        )
        .join(signing_keys, signing_keys.c.keyid == base_figures.c.keyid)
        .where(base_figures.c.base_id == base_id, signing_keys.c.revoked_at.is_(None))
        .order_by(base_figures.c.created_at, base_figures.c.keyid)
    )
    return fetch_all(conn, query, FiguresRow)


def add_figures(
    conn: sa.Connection, base_id: int, *, surroundings: str, keyid: str, envelope: bytes, created_by: int | None
) -> bool:
    """Store a worker's figures of a base; return False if that worker has reported them before."""
    added = (
        insert(conn, base_figures)
        .values(
            base_id=base_id,
            surroundings=surroundings,
            keyid=keyid,
            envelope=envelope,
            created_at=now_us(),
            created_by=created_by,
        )
        .on_conflict_do_nothing(index_elements=["base_id", "surroundings", "keyid"])
        .returning(base_figures.c.base_id)
    )
    return conn.execute(added).scalar() is not None
