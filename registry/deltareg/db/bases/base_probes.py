"""The general probe sets of bases, and what workers found of the bases on them."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.bases.rows import FiguresRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import base_figures, base_probes, signing_keys


def probes_document(conn: sa.Connection, base_id: int) -> bytes | None:
    """Give the probe set of a base; None where none was drawn yet."""
    query = sa.select(base_probes.c.document).where(base_probes.c.base_id == base_id)
    found = conn.execute(query).scalar()
    return None if found is None else bytes(found)


def add_probes(conn: sa.Connection, base_id: int, *, digest: str, document: bytes) -> None:
    """Keep the probe set of a base; one that is there stays."""
    conn.execute(
        insert(conn, base_probes)
        .values(base_id=base_id, digest=digest, document=document, created_at=now_us())
        .on_conflict_do_nothing(index_elements=["base_id"])
    )


def figures_rows(conn: sa.Connection, base_id: int) -> Sequence[FiguresRow]:
    """List what workers found of a base, oldest first; not what a revoked key signed."""
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
    """Keep what a worker found of a base; False where it has said so before."""
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
