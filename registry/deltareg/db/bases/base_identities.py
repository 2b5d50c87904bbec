"""The identities of bases, which bases share their tensors, and former names."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.sql.upsert import insert
from deltareg.db.tables import (
    base_aliases,
    base_identities,
    base_packs,
    base_variants,
    bases,
    deleted_bases,
    runs,
    version_variants,
    versions,
)
from deltareg.db.tables.runs import ACTIVE

DELETED_MARK = "#deleted-"
"""In the name of a base that was deleted, which nothing else may contain."""


def add_identity(conn: sa.Connection, base_id: int, *, identity: str, parts: Mapping[str, str]) -> None:
    """Record the identity of a base; an existing one is left as it is."""
    conn.execute(
        insert(conn, base_identities)
        .values(base_id=base_id, identity=identity, parts=dict(parts), is_partial=False)
        .on_conflict_do_nothing(index_elements=["base_id"])
    )


def complete_identity(conn: sa.Connection, base_id: int, *, identity: str, parts: Mapping[str, str]) -> None:
    """Replace a partial identity by the complete one, which then stays."""
    conn.execute(
        sa.update(base_identities)
        .where(base_identities.c.base_id == base_id)
        .values(identity=identity, parts=dict(parts), is_partial=False)
    )


def is_alias(conn: sa.Connection, name: str) -> bool:
    """Whether a name is an alias: a former name of a base."""
    query = sa.select(base_aliases.c.base_id).where(base_aliases.c.name == name)
    return conn.execute(query).first() is not None


def rename_base(conn: sa.Connection, base_id: int, *, before: str, after: str, created_by: int) -> None:
    """Rename a base: `before` becomes an alias, and `after` stops being one if it was."""
    conn.execute(sa.delete(base_aliases).where(base_aliases.c.name == after))
    conn.execute(sa.update(bases).where(bases.c.id == base_id).values(name=after))
    conn.execute(sa.insert(base_aliases).values(name=before, base_id=base_id, created_by=created_by))


def standing_on(conn: sa.Connection, base_id: int) -> dict[str, int]:
    """Count what depends on a base: versions, versions trained on it, runs on it, its variants.

    Deleted versions count while they still hold their bytes.
    """
    stands = versions.c.released_at.is_(None)
    trained = sa.select(version_variants.c.version_id).where(version_variants.c.base_id == base_id)
    deleted = sa.select(deleted_bases.c.base_id)
    counts = {
        "versions": sa.select(sa.func.count())
        .select_from(versions)
        .where(versions.c.base_id == base_id, versions.c.deleted_at.is_(None)),
        "deleted": sa.select(sa.func.count())
        .select_from(versions)
        .where(versions.c.base_id == base_id, versions.c.deleted_at.is_not(None), stands),
        "trained": sa.select(sa.func.count()).select_from(versions).where(versions.c.id.in_(trained), stands),
        "runs": sa.select(sa.func.count())
        .select_from(runs)
        .join(bases, bases.c.id == base_id)
        .where(
            ACTIVE,
            runs.c.request["base_root"].as_string() == bases.c.root,
            runs.c.request["variant"]
            .as_string()
            .in_(
                sa.select(base_aliases.c.name)
                .where(base_aliases.c.base_id == base_id)
                .union(sa.select(bases.c.name).where(bases.c.id == base_id))
            ),
        ),
        "variants": sa.select(sa.func.count())
        .select_from(base_variants)
        .where(base_variants.c.root_id == base_id, base_variants.c.base_id.not_in(deleted)),
    }
    return {name: conn.execute(query).scalar_one() for name, query in counts.items()}


def delete_base(conn: sa.Connection, base_id: int, *, name: str, created_by: int) -> None:
    """Delete a base that nothing depends on: its name is free, and collection frees its packs."""
    conn.execute(sa.insert(deleted_bases).values(base_id=base_id, name=name, created_by=created_by))
    conn.execute(sa.delete(base_aliases).where(base_aliases.c.base_id == base_id))
    conn.execute(sa.delete(base_packs).where(base_packs.c.base_id == base_id))
    conn.execute(
        sa.update(bases)
        .where(bases.c.id == base_id)
        .values(name=f"{name}{DELETED_MARK}{base_id}", storage_map=None, stored_bytes=0)
    )


def complete_base(
    conn: sa.Connection, base_id: int, *, manifest_digest: str, manifest: bytes, logical_bytes: int
) -> None:
    """Replace the manifest of a partially known base by the complete one.

    The stored bytes belong to the old manifest and are dropped; the push brings them anew.
    """
    conn.execute(sa.delete(base_packs).where(base_packs.c.base_id == base_id))
    conn.execute(
        sa.update(bases)
        .where(bases.c.id == base_id)
        .values(
            manifest_digest=manifest_digest,
            manifest=manifest,
            logical_bytes=logical_bytes,
            storage_map=None,
            stored_bytes=0,
        )
    )


def is_deleted() -> sa.ColumnElement[bool]:
    """Whether a base was deleted."""
    return sa.exists().where(deleted_bases.c.base_id == bases.c.id)


def versions_standing_on(conn: sa.Connection, base_id: int, *, limit: int) -> Sequence[int]:
    """Return the ids of a base's newest versions."""
    query = (
        sa.select(versions.c.id)
        .where(versions.c.base_id == base_id, versions.c.deleted_at.is_(None))
        .order_by(versions.c.id.desc())
        .limit(limit)
    )
    return list(conn.execute(query).scalars())
