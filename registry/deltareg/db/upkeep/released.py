"""Packs that something ceased to need, as triggers note them: only among these are packs that nothing needs."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.sql.among import among_found
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import base_packs, form_packs, packs, released_packs, version_packs

# Each for itself: of one condition that none of them is so, PostgreSQL makes no joins.
IS_UNREFERENCED = sa.and_(
    ~sa.exists().where(version_packs.c.pack_id == packs.c.id),
    ~sa.exists().where(base_packs.c.pack_id == packs.c.id),
    ~sa.exists().where(form_packs.c.pack_id == packs.c.id),
)
IS_LEFT = sa.and_(among_found(packs.c.id, sa.select(released_packs.c.pack_id).scalar_subquery()), IS_UNREFERENCED)
"""The same, of the few packs that something ever ceased to need."""


def forget_released(conn: sa.Connection) -> None:
    """Forget those released packs that are needed again, or gone.

    Whoever releases one meanwhile writes another row, so that none is forgotten that nothing needs.
    """
    kept = sa.select(released_packs.c.id, released_packs.c.pack_id).order_by(released_packs.c.id)
    for part in batches(list(conn.execute(kept))):
        left = sa.select(packs.c.id).where(packs.c.id.in_({row.pack_id for row in part}), IS_UNREFERENCED)
        still = set(conn.execute(left).scalars())
        over = [row.id for row in part if row.pack_id not in still]
        conn.execute(sa.delete(released_packs).where(released_packs.c.id.in_(over)))


def unnoted_packs(conn: sa.Connection) -> list[int]:
    """Look at all packs for those that nothing needs and that are not among the released ones."""
    query = sa.select(packs.c.id).where(IS_UNREFERENCED, packs.c.id.not_in(sa.select(released_packs.c.pack_id)))
    return list(conn.execute(query.order_by(packs.c.id)).scalars())


def note_released(conn: sa.Connection, pack_ids: Sequence[int]) -> None:
    """Note packs as released."""
    conn.execute(sa.insert(released_packs), [{"pack_id": pack_id} for pack_id in pack_ids])
