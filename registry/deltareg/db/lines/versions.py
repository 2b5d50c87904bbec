"""Versions and their lineage."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from functools import cache
from typing import Any, Final, Literal

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.lines.deltas import AskedLabel
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.document import PackedDocuments, StoredDocuments, pack_map
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.tables import (
    base_identities,
    bases,
    deltas,
    lineage,
    namespaces,
    principals,
    referrers,
    version_variants,
    versions,
)

# Once: SQLAlchemy makes all columns of an alias when it is first asked for one.
_OTHERS: Final = versions.alias("others")
_STREAM_ROWS = 200
_Choice = Literal["number", "semver", "digest", "newest"]
_SHOWN = [versions.c[field.name] for field in fields(VersionRow) if field.name in versions.c]


@cache
def select_versions() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for versions as shown: with joined names, without manifest and storage map."""
    variant = bases.alias("variant")
    trained_on = (
        sa.select(variant.c.name)
        .join(version_variants, version_variants.c.base_id == variant.c.id)
        .where(version_variants.c.version_id == versions.c.id)
        .correlate(versions)
    )
    signatures = (
        sa.select(sa.func.count())
        .where(referrers.c.version_id == versions.c.id, referrers.c.form == "signature")
        .correlate(versions)
    )
    return (
        sa.select(
            *_SHOWN,
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            bases.c.name.label("base_name"),
            base_identities.c.identity.label("base_identity"),
            principals.c.name.label("maker"),
            trained_on.scalar_subquery().label("trained_on"),
            signatures.scalar_subquery().label("signatures"),
            deltas.c.deprecation.label("line_deprecation"),
        )
        .select_from(versions)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(bases, bases.c.id == versions.c.base_id)
        .outerjoin(base_identities, base_identities.c.base_id == versions.c.base_id)
        .outerjoin(principals, principals.c.id == versions.c.created_by)
    )


def version_by_id(conn: sa.Connection, version_id: int) -> VersionRow:
    """Return a version by its row id."""
    return _BY_ID.require(conn, version_id=version_id)


def find_version(
    conn: sa.Connection,
    delta_id: int,
    *,
    number: int | None = None,
    semver: str | None = None,
    digest: str | None = None,
) -> VersionRow | None:
    """Find a version of a line; by default the newest that is not deleted."""
    how, given = _choose(number=number, semver=semver, digest=digest)
    return _of_line(how).one(conn, delta_id=delta_id, **given)


def find_version_named(
    conn: sa.Connection,
    namespace: str,
    line: str,
    *,
    number: int | None = None,
    semver: str | None = None,
    digest: str | None = None,
) -> VersionRow | None:
    """Find a version as `find_version` does, by the names of its namespace and line."""
    how, given = _choose(number=number, semver=semver, digest=digest)
    return _of_named_line(how).one(conn, namespace=namespace, line=line, **given)


def _choose(*, number: int | None, semver: str | None, digest: str | None) -> tuple[_Choice, dict[str, object]]:
    """Return how a version of a line is chosen, and what the query for it is given."""
    if number is not None:
        return "number", {"number": number}
    if semver is not None:
        return "semver", {"semver": semver}
    return ("newest", {}) if digest is None else ("digest", {"digest": digest})


@cache
def _of_line(how: _Choice) -> PreparedQuery[VersionRow]:
    return _prepare_choice(how, versions.c.delta_id == sa.bindparam("delta_id"))


@cache
def _of_named_line(how: _Choice) -> PreparedQuery[VersionRow]:
    is_line = sa.and_(namespaces.c.name == sa.bindparam("namespace"), deltas.c.name == sa.bindparam("line"))
    return _prepare_choice(how, is_line)


def _prepare_choice(how: _Choice, is_line: sa.ColumnElement[bool]) -> PreparedQuery[VersionRow]:
    is_chosen: sa.ColumnElement[bool]
    if how == "digest":
        is_chosen = sa.and_(versions.c.deleted_at.is_(None), versions.c.manifest_digest == sa.bindparam("digest"))
    elif how == "newest":
        is_chosen = versions.c.number == newest_number()
    else:
        is_chosen = versions.c[how] == sa.bindparam(how)
    query = select_versions().where(is_line, is_chosen).order_by(versions.c.number.desc()).limit(1)
    return PreparedQuery(query, VersionRow)


def newest_number() -> sa.ScalarSelect[int]:
    """Return a subquery for the number of the newest version of the line in `deltas` that is not deleted."""
    return (
        sa.select(sa.func.max(_OTHERS.c.number))
        .where(_OTHERS.c.delta_id == deltas.c.id, _OTHERS.c.deleted_at.is_(None))
        .correlate(deltas)
        .scalar_subquery()
    )


def versions_by_prefix(
    conn: sa.Connection,
    prefix: str,
    *,
    line: tuple[str, str] | None = None,
    sight: VisibleLines | None = None,
    limit: int,
) -> Sequence[VersionRow]:
    """List versions whose digest begins so, by name: of a line, or of all that `sight` shows."""
    query = select_versions().where(
        versions.c.manifest_digest.startswith(prefix, autoescape=True), versions.c.deleted_at.is_(None)
    )
    if line is not None:
        query = query.where(namespaces.c.name == line[0], deltas.c.name == line[1])
    query = in_sight(query, sight)
    return fetch_all(conn, query.order_by(namespaces.c.name, deltas.c.name, versions.c.number).limit(limit), VersionRow)


def version_rows(
    conn: sa.Connection, delta_id: int, *, before: int | None, limit: int, labels: Sequence[AskedLabel] = ()
) -> Sequence[VersionRow]:
    """List the versions of a line that have the labels, newest first; deleted ones are left out."""
    query = (
        select_versions()
        .where(
            versions.c.delta_id == delta_id,
            versions.c.deleted_at.is_(None),
            *(label.is_on(versions) for label in labels),
        )
        .order_by(versions.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(versions.c.number < before)
    return fetch_all(conn, query, VersionRow)


def all_of_line(conn: sa.Connection, delta_id: int) -> Sequence[VersionRow]:
    """List all versions of a line, deleted ones too, oldest first."""
    return fetch_all(conn, select_versions().where(versions.c.delta_id == delta_id).order_by(versions.c.id), VersionRow)


def all_of_namespace(conn: sa.Connection, namespace_id: int) -> Sequence[VersionRow]:
    """List all versions in a namespace, deleted ones too, oldest first."""
    query = select_versions().where(deltas.c.namespace_id == namespace_id)
    return fetch_all(conn, query.order_by(versions.c.id), VersionRow)


def versions_by_numbers(conn: sa.Connection, delta_id: int, numbers: Iterable[int]) -> Sequence[VersionRow]:
    """Return versions of a line by number, newest first."""
    query = (
        select_versions()
        .where(versions.c.delta_id == delta_id, versions.c.number.in_(list(numbers)))
        .order_by(versions.c.number.desc())
    )
    return fetch_all(conn, query, VersionRow)


def versions_by_ids(conn: sa.Connection, ids: Iterable[int]) -> dict[int, VersionRow]:
    """Return versions keyed by row id."""
    wanted = list(ids)
    if len(wanted) == 1:  # what a channel serves, asked for all the time
        return {row.id: row for row in _BY_ID.all(conn, version_id=wanted[0])}
    return {row.id: row for row in _BY_IDS.all(conn, ids=write_ids(wanted))}


def content(conn: sa.Connection, version_id: int) -> StoredDocuments:
    """Return the manifest and the storage map of a version."""
    query = sa.select(versions.c.manifest, versions.c.storage_map)
    row = conn.execute(query.where(versions.c.id == version_id)).one()
    return StoredDocuments(row.manifest, row.storage_map)


def manifests_of(conn: sa.Connection, version_ids: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the row id and the manifest of versions as they are read."""
    query = sa.select(versions.c.id, versions.c.manifest).where(
        among(versions.c.id, sa.literal(write_ids(version_ids), sa.Text))
    )
    with closing(conn.execute(query.execution_options(yield_per=_STREAM_ROWS))) as rows:
        yield from ((row.id, row.manifest) for row in rows)


def add_version(conn: sa.Connection, packed: PackedDocuments, **values: object) -> int:
    """Insert a version and return its row id."""
    manifest = sa.literal(packed.manifest, sa.LargeBinary)  # as it is: it is packed already
    added = sa.insert(versions).values(manifest=manifest, storage_map=packed.storage_map, **values)
    return int(conn.execute(added.returning(versions.c.id)).scalar_one())


def restore_manifest(conn: sa.Connection, version_id: int, packed: bytes) -> None:
    """Write the same packed manifest of a version again after its row was damaged."""
    manifest = sa.literal(packed, sa.LargeBinary)
    conn.execute(sa.update(versions).where(versions.c.id == version_id).values(manifest=manifest))


def replace_storage(
    conn: sa.Connection, version_id: int, *, storage_map: bytes, stored_bytes: int, cold_bytes: int | None = None
) -> None:
    """Replace the storage map of a version, and what was measured of it."""
    revision = versions.c.storage_revision + 1
    packed_map = pack_map(storage_map, content(conn, version_id).manifest)
    conn.execute(
        sa.update(versions)
        .where(versions.c.id == version_id)
        .values(storage_map=packed_map, stored_bytes=stored_bytes, cold_bytes=cold_bytes, storage_revision=revision)
    )


def unmeasured_versions(conn: sa.Connection, *, limit: int) -> list[int]:
    """List versions of which it is not known yet what a cold machine fetches, oldest first."""
    is_unmeasured = versions.c.cold_bytes.is_(None) & versions.c.deleted_at.is_(None)
    return list(
        conn.execute(sa.select(versions.c.id).where(is_unmeasured).order_by(versions.c.id).limit(limit)).scalars()
    )


def keep_cold_bytes(conn: sa.Connection, version_id: int, cold_bytes: int) -> None:
    """Record what a cold machine fetches of a version as it is stored now."""
    conn.execute(sa.update(versions).where(versions.c.id == version_id).values(cold_bytes=cold_bytes))


def add_parents(conn: sa.Connection, version_id: int, parent_ids: Sequence[int]) -> None:
    """Record which versions a version was made from, in order."""
    rows = [
        {"version_id": version_id, "parent_version_id": parent, "position": position}
        for position, parent in enumerate(parent_ids)
    ]
    if rows:
        conn.execute(sa.insert(lineage), rows)


def versions_by_digest(conn: sa.Connection, namespace: str, digests: Iterable[str]) -> Sequence[VersionRow]:
    """Find versions of a namespace by manifest digest, on all of its lines, oldest first."""
    query = (
        select_versions()
        .where(
            namespaces.c.name == namespace,
            versions.c.manifest_digest.in_(list(digests)),
            versions.c.deleted_at.is_(None),
        )
        .order_by(versions.c.id)
    )
    return fetch_all(conn, query, VersionRow)


def parents_of(conn: sa.Connection, version_id: int) -> Sequence[VersionRow]:
    """List the parents of a version, in order."""
    return _PARENTS.all(conn, version_id=version_id)


def children_of(conn: sa.Connection, version_id: int) -> Sequence[VersionRow]:
    """List the versions made from a version, oldest first."""
    query = (
        select_versions()
        .join(lineage, lineage.c.version_id == versions.c.id)
        .where(lineage.c.parent_version_id == version_id, versions.c.deleted_at.is_(None))
        .order_by(versions.c.id)
    )
    return fetch_all(conn, query, VersionRow)


def versions_on(conn: sa.Connection, base_id: int, *, sight: VisibleLines | None, limit: int) -> Sequence[VersionRow]:
    """List the versions on a base that `sight` shows, newest first."""
    query = select_versions().where(versions.c.base_id == base_id, versions.c.deleted_at.is_(None))
    return fetch_all(conn, in_sight(query, sight).order_by(versions.c.id.desc()).limit(limit), VersionRow)


def replace_labels(conn: sa.Connection, version_id: int, labels: Mapping[str, str]) -> None:
    """Replace the labels of a version that the caller has locked."""
    changed = sa.update(versions).where(versions.c.id == version_id).values(labels=dict(labels))
    conn.execute(changed)


def set_details(conn: sa.Connection, version_id: int, **said: str) -> None:
    """Set the semver or the message of a version that the caller has locked."""
    conn.execute(sa.update(versions).where(versions.c.id == version_id).values(**said))


def set_deprecation(conn: sa.Connection, version_id: int, deprecation: Mapping[str, str] | None) -> None:
    """Deprecate a version that the caller has locked, or end that with None."""
    conn.execute(sa.update(versions).where(versions.c.id == version_id).values(deprecation=deprecation))


def lock_version(conn: sa.Connection, version_id: int) -> None:
    """Lock a version, so that nobody else builds on it until the transaction ends."""
    query = sa.select(versions.c.id).where(versions.c.id == version_id).with_for_update()
    conn.execute(query)


def delete_version(conn: sa.Connection, version_id: int, *, at: int | None = None) -> None:
    """Mark a version deleted, at a time or now; collection releases its packs later."""
    when = now_us() if at is None else at
    conn.execute(sa.update(versions).where(versions.c.id == version_id).values(deleted_at=when))


def restore_version(conn: sa.Connection, version_id: int) -> None:
    """Undo the deletion of a version that the caller has locked and that still has its packs."""
    still = sa.and_(versions.c.id == version_id, versions.c.released_at.is_(None))
    conn.execute(sa.update(versions).where(still).values(deleted_at=None))


_BY_ID: Final = PreparedQuery(select_versions().where(versions.c.id == sa.bindparam("version_id")), VersionRow)
_BY_IDS: Final = PreparedQuery(
    select_versions().where(among(versions.c.id, sa.bindparam("ids", type_=sa.Text))), VersionRow
)
_PARENTS: Final = PreparedQuery(
    select_versions()
    .join(lineage, lineage.c.parent_version_id == versions.c.id)
    .where(lineage.c.version_id == sa.bindparam("version_id"))
    .order_by(lineage.c.position),
    VersionRow,
)
