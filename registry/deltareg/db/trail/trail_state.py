"""The current state, by the tables, of what the log has rows about: channels, revocations, keys."""

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from deltareg.db.tables import channels, deltas, namespaces, revisions, revocations, signing_keys, versions

Said = tuple[str, Mapping[str, object]]


def channels_now(conn: sa.Connection) -> Iterator[Said]:
    """Yield what each channel that ever moved serves, by its name in the audit trail."""
    newest = sa.and_(revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision)
    query = (
        sa.select(
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            channels.c.name,
            channels.c.revision,
            versions.c.number,
            versions.c.manifest_digest,
        )
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(revisions, newest)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
        .where(channels.c.revision > 0)
        .order_by(channels.c.id)
    )
    for row in conn.execute(query):
        says = {"revision": row.revision, "version": row.number, "digest": row.manifest_digest}
        yield f"{row.namespace}/{row.line}@{row.name}", says


def revoked_now(conn: sa.Connection) -> Iterator[Said]:
    """Yield the versions that are revoked."""
    query = (
        sa.select(
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
            versions.c.manifest_digest,
        )
        .select_from(revocations)
        .join(versions, versions.c.id == revocations.c.version_id)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(revocations.c.ended_at.is_(None), versions.c.revoked_at.is_not(None))
        .order_by(revocations.c.id)
    )
    for row in conn.execute(query):
        says = {"revoked": True, "digest": row.manifest_digest}
        yield f"{row.namespace}/{row.line}:v{row.number}", says


def keys_now(conn: sa.Connection) -> Iterator[Said]:
    """Yield the keys of workers and servers, and whether they are revoked."""
    query = sa.select(
        signing_keys.c.keyid, signing_keys.c.public, signing_keys.c.role, signing_keys.c.revoked_at
    ).order_by(signing_keys.c.id)
    for row in conn.execute(query):
        says = {"key": row.public, "role": row.role, "revoked": row.revoked_at is not None}
        yield f"key/{row.keyid}", says
