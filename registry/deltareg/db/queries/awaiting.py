"""What waits for a collection: deleted versions that hold their bytes, and former stored forms."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.queries.collection import PinWindow, is_pinned
from deltareg.db.rows import DeletedRow, FormerRow, fetch_all
from deltareg.db.tables import deltas, forms, namespaces, versions


def deleted_versions(conn: sa.Connection, *, window: PinWindow, limit: int) -> Sequence[DeletedRow]:
    """List deleted versions that still hold their bytes, those first that were deleted first."""
    query = (
        sa.select(
            versions.c.id, namespaces.c.name.label("namespace"), deltas.c.name.label("line"),
            versions.c.number, versions.c.deleted_at, versions.c.stored_bytes,
            is_pinned(window).label("is_pinned"),
        )
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(versions.c.deleted_at.is_not(None), versions.c.released_at.is_(None))
        .order_by(versions.c.deleted_at, versions.c.id)
        .limit(limit)
    )  # fmt: skip
    return fetch_all(conn, query, DeletedRow)


def former_forms(conn: sa.Connection, *, limit: int) -> Sequence[FormerRow]:
    """List stored forms that are kept beside those that are served, the oldest first."""
    unproven = sa.and_(forms.c.state == "proposed", forms.c.why != "push")
    query = (
        sa.select(
            forms.c.id, namespaces.c.name.label("namespace"), deltas.c.name.label("line"),
            versions.c.number, forms.c.stored_bytes, forms.c.created_at,
        )
        .join(versions, versions.c.id == forms.c.version_id)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(sa.or_(forms.c.state == "former", unproven))
        .order_by(forms.c.created_at, forms.c.id)
        .limit(limit)
    )  # fmt: skip
    return fetch_all(conn, query, FormerRow)
