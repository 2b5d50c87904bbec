"""Bases and the recorded relations between them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import sqlalchemy as sa

from deltareg.db.bases.base_identities import is_deleted
from deltareg.db.bases.rows import BaseManifestRow, BaseRow
from deltareg.db.bases.stacks import is_standing
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.sql.document import StoredDocuments, pack_map, unpack_document
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import (
    base_aliases,
    base_hub_ids,
    base_identities,
    base_relations,
    base_variants,
    bases,
    deleted_bases,
    line_counts,
    principals,
    version_bases,
)
from deltareg.errors import IntegrityFailure

_SHOWN = [column for column in bases.c if column.name not in {"manifest", "storage_map"}]


def base_rows(
    conn: sa.Connection,
    *,
    base_id: int | None = None,
    name: str | None = None,
    root: str | None = None,
    hub_id: str | None = None,
    location: str | None = None,
    after: str | None = None,
    limit: int = 50,
    lock: bool = False,
    also_deleted: bool = False,
) -> Sequence[BaseRow]:
    """List bases by name, without manifest and storage map; with `lock`, their rows are locked.

    A base that is a version comes with the facts about that version. It is listed only while the
    version is not deleted, unless `also_deleted` is set.
    """
    query = (_select() if also_deleted else _select_standing()).limit(limit)
    if base_id is not None:
        query = query.where(bases.c.id == base_id)
    if name is not None:
        query = query.where(sa.or_(bases.c.name == name, bases.c.id.in_(_select_aliased(name))))
    if root is not None:
        query = query.where(bases.c.root == root)
    if hub_id is not None:
        with_hub_id = sa.select(base_hub_ids.c.base_id).where(sa.func.lower(base_hub_ids.c.hub_id) == hub_id.lower())
        query = query.where(bases.c.id.in_(with_hub_id))
    if location is not None:
        query = query.where(bases.c.location == location)
    if after is not None:
        query = query.where(bases.c.name > after)
    if lock:
        query = query.with_for_update(of=bases)
    return fetch_all(conn, query, BaseRow)


def bases_named(conn: sa.Connection, names: Iterable[str]) -> Sequence[BaseRow]:
    """Return the bases of the given names, ordered by name."""
    query = _select_standing().where(bases.c.name.in_(list(names))).order_by(bases.c.name)
    return fetch_all(conn, query, BaseRow)


def base_content(conn: sa.Connection, base_id: int) -> StoredDocuments:
    """Return the manifest and the storage map of a base."""
    query = sa.select(bases.c.manifest, bases.c.storage_map).where(bases.c.id == base_id)
    row = conn.execute(query).one()
    return StoredDocuments(row.manifest, row.storage_map)


def base_of(conn: sa.Connection, version: VersionRow) -> BaseRow | None:
    """Return the base that a version was pushed for, even if that is a deleted version.

    None if the version has no base.
    """
    if version.base_id is None:
        return None
    return base_rows(conn, base_id=version.base_id, limit=1, also_deleted=True)[0]


def contents_of_others(conn: sa.Connection, base_id: int) -> Sequence[BaseManifestRow]:
    """Return the id, root and manifest of every other base; damaged ones are left out."""
    stored_manifest = sa.type_coerce(bases.c.manifest, sa.LargeBinary).label("manifest")
    query = sa.select(bases.c.id, bases.c.root, stored_manifest).where(bases.c.id != base_id, ~is_deleted())
    rows: list[BaseManifestRow] = []
    for row in conn.execute(query):
        with suppress(IntegrityFailure):
            manifest = unpack_document(bytes(row.manifest))
            rows.append(BaseManifestRow(id=row.id, root=row.root, manifest=manifest))
    return rows


def add_base(conn: sa.Connection, *, name: str, **values: object) -> bool:
    """Insert a base; return False if the name is taken."""
    added = (
        insert(conn, bases)
        .values(name=name, **values)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(bases.c.id)
    )
    return conn.execute(added).scalar() is not None


def restore_manifest(conn: sa.Connection, base_id: int, manifest: bytes) -> None:
    """Write the same manifest of a base again after its row was damaged."""
    conn.execute(sa.update(bases).where(bases.c.id == base_id).values(manifest=manifest))


def store_base(conn: sa.Connection, base_id: int, *, storage_map: bytes, stored_bytes: int) -> None:
    """Store the bytes of a registered base, or replace them."""
    revision = sa.case((bases.c.storage_map.is_(None), bases.c.storage_revision), else_=bases.c.storage_revision + 1)
    packed_map = pack_map(storage_map, base_content(conn, base_id).manifest)
    conn.execute(
        sa.update(bases)
        .where(bases.c.id == base_id)
        .values(storage_map=packed_map, stored_bytes=stored_bytes, storage_revision=revision)
    )


def select_relations() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for the recorded relations between bases."""
    other = bases.alias("other")
    stands = ~sa.exists().where(deleted_bases.c.base_id == other.c.id)
    return (
        sa.select(base_relations.c.relation, base_relations.c.other_root, other.c.name)
        .select_from(base_relations)
        .outerjoin(other, sa.and_(other.c.root == base_relations.c.other_root, stands))
    )


def add_relation(conn: sa.Connection, base_id: int, *, other_root: str, relation: str, rule_version: str) -> None:
    """Record a relation; an existing one is left as it is."""
    recorded = sa.select(base_relations.c.id).where(
        base_relations.c.base_id == base_id,
        base_relations.c.other_root == other_root,
        base_relations.c.relation == relation,
    )
    if conn.execute(recorded).first() is None:
        conn.execute(
            sa.insert(base_relations).values(
                base_id=base_id, other_root=other_root, relation=relation, rule_version=rule_version
            )
        )


def _select_aliased(name: str) -> sa.Select[tuple[int]]:
    return sa.select(base_aliases.c.base_id).where(base_aliases.c.name == name)


@cache
def _select() -> sa.Select[*tuple[Any, ...]]:
    bottom = bases.alias("bottom")
    full = bases.alias("full_precision")
    used = sa.func.coalesce(sa.func.sum(line_counts.c.versions + line_counts.c.trained), 0)
    standing_on_it = sa.select(sa.cast(used, sa.BigInteger)).where(line_counts.c.base_id == bases.c.id)
    return (
        sa.select(
            *_SHOWN,
            bases.c.storage_map.is_not(None).label("is_stored"),
            principals.c.name.label("maker"),
            standing_on_it.scalar_subquery().label("deltas"),
            base_identities.c.identity,
            base_identities.c.parts,
            base_identities.c.is_partial,
            version_bases.c.version_id,
            version_bases.c.bottom_id,
            version_bases.c.depth,
            version_bases.c.recipe,
            bottom.c.name.label("bottom_name"),
            bottom.c.root.label("bottom_root"),
            base_variants.c.scheme,
            full.c.id.label("full_id"),
            full.c.name.label("full_name"),
            full.c.root.label("full_root"),
        )
        .select_from(bases)
        .outerjoin(base_identities, base_identities.c.base_id == bases.c.id)
        .outerjoin(version_bases, version_bases.c.base_id == bases.c.id)
        .outerjoin(bottom, bottom.c.id == version_bases.c.bottom_id)
        .outerjoin(base_variants, base_variants.c.base_id == bases.c.id)
        .outerjoin(full, full.c.id == base_variants.c.root_id)
        .outerjoin(principals, principals.c.id == bases.c.created_by)
        .order_by(bases.c.name)
    )


@cache
def _select_standing() -> sa.Select[*tuple[Any, ...]]:
    return _select().where(is_standing())
