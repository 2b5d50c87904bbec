"""Verdicts: inserted once per run, read by run, version and suite."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.sql.fetch import fetch_all, fetch_each, fetch_one
from deltareg.db.sql.page_size import rows_at_most
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import (
    base_identities,
    bases,
    comparisons,
    complete_verdicts,
    deltas,
    namespaces,
    principals,
    suites,
    verdict_bases,
    verdicts,
    versions,
)
from deltareg.db.verdicts.outcomes import continuation, continues, is_complete
from deltareg.db.verdicts.rows import VerdictIdRow, VerdictRow
from deltareg.db.verdicts.signing import is_for_all, with_signature


@cache
def select_verdicts() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for verdicts as shown, with the current state of their version and suite."""
    suite_now = (
        sa.select(suites.c.digest).where(suites.c.name == verdicts.c.suite).order_by(suites.c.number.desc()).limit(1)
    )
    own = base_identities.alias("own")
    variant = name_of_variant()
    return with_signature(
        sa.select(
            verdicts,
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
            versions.c.manifest_digest.label("version_digest"),
            versions.c.base_root.label("version_base"),
            principals.c.name.label("maker"),
            sa.func.coalesce(comparisons.c.digest, "").label("compared_with"),
            suite_now.correlate(verdicts).scalar_subquery().label("suite_now"),
            is_complete().label("is_complete"),
            continues().label("continues"),
            continuation().label("continuation"),
            sa.func.coalesce(variant, "").label("variant"),
            sa.func.coalesce(verdict_bases.c.identity, "").label("base_identity"),
            sa.func.coalesce(own.c.identity, "").label("version_identity"),
        )
        .select_from(verdicts)
        .join(versions, versions.c.id == verdicts.c.version_id)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(principals, principals.c.id == verdicts.c.created_by)
        .outerjoin(comparisons, comparisons.c.verdict_id == verdicts.c.id)
        .outerjoin(verdict_bases, verdict_bases.c.verdict_id == verdicts.c.id)
        .outerjoin(own, own.c.base_id == versions.c.base_id)
    )


def name_of_variant() -> sa.ScalarSelect[str]:
    """Select the name of the variant that a verdict was made on; NULL for the base itself."""
    identities = base_identities.alias("told")
    verdict_identity = sa.select(verdict_bases.c.identity).where(verdict_bases.c.verdict_id == verdicts.c.id)
    return (
        sa.select(sa.func.min(bases.c.name))
        .select_from(bases)
        .outerjoin(identities, identities.c.base_id == bases.c.id)
        .where(
            bases.c.root == verdicts.c.base_root,
            verdicts.c.base_root != versions.c.base_root,
            sa.func.coalesce(verdict_identity.correlate(verdicts).scalar_subquery(), identities.c.identity, "")
            == sa.func.coalesce(identities.c.identity, ""),
        )
        .correlate(verdicts, versions)
        .scalar_subquery()
    )


def add_verdict(
    conn: sa.Connection,
    values: Mapping[str, object],
    *,
    compared_with: str = "",
    is_complete: bool = False,
    base_identity: str = "",
) -> None:
    """Insert a verdict; the database refuses a second one for a run.

    Args:
        conn: The transaction.
        values: The row.
        compared_with: The manifest digest of the version that the suite compared with.
        is_complete: Whether it failed although every required check has a conclusive result.
        base_identity: The identity of the base that it was made on; empty if it is not known.
    """
    conn.execute(sa.insert(verdicts).values(dict(values)))
    if is_complete:
        conn.execute(sa.insert(complete_verdicts).values(verdict_id=values["id"]))
    if compared_with:
        conn.execute(sa.insert(comparisons).values(verdict_id=values["id"], digest=compared_with))
    if base_identity:
        conn.execute(sa.insert(verdict_bases).values(verdict_id=values["id"], identity=base_identity))


def verdict_row(conn: sa.Connection, verdict_id: str) -> VerdictRow | None:
    """Find a verdict."""
    return fetch_one(conn, select_verdicts().where(verdicts.c.id == verdict_id), VerdictRow)


def verdict_rows(
    conn: sa.Connection,
    *,
    version_id: int | None = None,
    suite: str | None = None,
    sight: VisibleLines | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> Sequence[VerdictRow]:
    """List verdicts, newest first; `before` is the (created_at, id) of the last one of a page."""
    query = in_sight(select_verdicts(), sight).order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
    if version_id is not None:
        query = query.where(verdicts.c.version_id == version_id)
    if suite is not None:
        query = query.where(verdicts.c.suite == suite)
    if before is not None:
        query = query.where(sa.tuple_(verdicts.c.created_at, verdicts.c.id) < before)
    return fetch_all(conn, query.limit(rows_at_most(limit)), VerdictRow)


def newest_verdicts(conn: sa.Connection, version_ids: Sequence[int]) -> Sequence[VerdictRow]:
    """List the newest verdict of each suite on each base, for some versions, newest first."""
    place = sa.func.row_number().over(
        partition_by=(verdicts.c.version_id, verdicts.c.suite, verdicts.c.base_root),
        order_by=(verdicts.c.created_at.desc(), verdicts.c.id.desc()),
    )
    ranked = (
        sa.select(verdicts.c.id, place.label("place")).where(verdicts.c.version_id.in_(version_ids)).subquery("ranked")
    )
    query = (
        select_verdicts()
        .where(
            verdicts.c.version_id.in_(version_ids),  # says nothing new, and has an index
            verdicts.c.id.in_(sa.select(ranked.c.id).where(ranked.c.place == 1)),
        )
        .order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
    )
    return fetch_all(conn, query, VerdictRow)


def newest_verdict(
    conn: sa.Connection,
    version_id: int,
    *,
    suite: str,
    base_root: str | None = None,
    suite_digest: str | None = None,
    compared_with: str | None = None,
) -> VerdictRow | None:
    """Find the newest verdict of a suite about a version, at any or a given digest of the suite.

    It is about the version on its own base, or on the base with the given root. Verdicts that are
    only for a worker's owner are ignored.
    """
    query = select_verdicts().where(verdicts.c.version_id == version_id, verdicts.c.suite == suite, is_for_all())
    on = versions.c.base_root if base_root is None else sa.literal(base_root)
    query = query.where(verdicts.c.base_root == on)
    if suite_digest is not None:
        query = query.where(verdicts.c.suite_digest == suite_digest)
    if compared_with is not None:
        query = query.where(sa.func.coalesce(comparisons.c.digest, "") == compared_with)
    newest = query.order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc()).limit(1)
    return fetch_one(conn, newest, VerdictRow)


_NEWEST_ID: Final = PreparedQuery(
    sa.select(verdicts.c.id)
    .where(
        verdicts.c.version_id == sa.bindparam("version_id"),
        verdicts.c.base_root == sa.bindparam("base_root"),
        verdicts.c.suite == sa.bindparam("suite"),
        is_for_all(),
    )
    .order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
    .limit(1),
    VerdictIdRow,
)


def newest_verdict_id(conn: sa.Connection, version_id: int, base_root: str, *, suite: str) -> str | None:
    """Find the id of what `newest_verdict` finds on a base, for each request: what a verdict says never changes."""
    found = _NEWEST_ID.all(conn, version_id=version_id, base_root=base_root, suite=suite)
    return found[0].id if found else None


def verdicts_of_runs(conn: sa.Connection, run_ids: Iterable[str]) -> dict[str, VerdictRow]:
    """Return the verdicts of runs, by run."""
    by_run: dict[str, VerdictRow] = {}
    for part in batches(sorted(set(run_ids))):
        query = select_verdicts().where(verdicts.c.run_id.in_(part))
        by_run |= {row.run_id: row for row in fetch_each(conn, query, VerdictRow)}
    return by_run
