"""Places of pieces that a server of the release before recorded: taken out once they are offered."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.storage.proofs import needed_packs
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import bases, piece_packs, pieces, versions


def recorded_some(conn: sa.Connection, *, limit: int) -> list[int]:
    """Return the ids of the pieces that have been on record longest."""
    return list(conn.execute(sa.select(pieces.c.id).order_by(pieces.c.id).limit(limit)).scalars())


def proven_with(conn: sa.Connection, piece_ids: Sequence[int]) -> list[PackHolder]:
    """List the proven versions and bases that need the packs of pieces."""
    inside = sa.select(piece_packs.c.pack_id).where(piece_packs.c.piece_id.in_(piece_ids))
    holders: list[PackHolder] = []
    for table, is_base in ((versions, False), (bases, True)):
        needs, column = needed_packs(PackHolder(0, is_base=is_base))
        query = (
            sa.select(column)
            .distinct()
            .join(table, table.c.id == column)
            .where(
                needs.c.pack_id.in_(inside),
                table.c.corrupt_at.is_(None),
                table.c.proven_revision == table.c.storage_revision,
            )
        )
        holders += [PackHolder(row_id, is_base=is_base) for row_id in conn.execute(query.order_by(column)).scalars()]
    return holders


def forget_recorded(conn: sa.Connection, piece_ids: Sequence[int]) -> int:
    """Forget pieces; return how many were on record."""
    return conn.execute(sa.delete(pieces).where(pieces.c.id.in_(piece_ids))).rowcount
