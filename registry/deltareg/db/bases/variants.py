"""Variants of bases: the variants themselves, the versions trained on them, and hub ids."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.bases.base_identities import is_deleted
from deltareg.db.bases.rows import HubIdRow, VariantRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.lines.versions import select_versions
from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.together import CombinedQuery, QueryPart
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import (
    base_hub_ids,
    base_identities,
    base_variants,
    bases,
    verdicts,
    version_variants,
    versions,
    waivers,
)
from deltareg.db.verdicts.outcomes import is_of_suite
from deltareg.db.verdicts.rows import VerdictRow, WaiverRow
from deltareg.db.verdicts.verdicts import select_verdicts
from deltareg.db.verdicts.waivers import select_waivers


def add_variant(conn: sa.Connection, base_id: int, *, root_id: int, scheme: str) -> None:
    """Record that a base is a variant of another one."""
    conn.execute(sa.insert(base_variants).values(base_id=base_id, root_id=root_id, scheme=scheme))


def variants_of(conn: sa.Connection, base_id: int | None) -> Sequence[VariantRow]:
    """List the variants of a base by name; empty if `base_id` is None."""
    query = select_variants().where(base_variants.c.root_id == base_id, ~is_deleted())
    return fetch_all(conn, query.order_by(bases.c.name), VariantRow)


@cache
def select_variants() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for variants of bases."""
    return (
        sa.select(bases.c.id, bases.c.name, bases.c.root, base_identities.c.identity)
        .select_from(bases)
        .join(base_variants, base_variants.c.base_id == bases.c.id)
        .outerjoin(base_identities, base_identities.c.base_id == bases.c.id)
    )


def record_training(conn: sa.Connection, version_id: int, *, base_id: int) -> None:
    """Record the variant that a version was trained on."""
    conn.execute(sa.insert(version_variants).values(version_id=version_id, base_id=base_id))


def add_hub_id(conn: sa.Connection, base_id: int, *, hub_id: str, revision: str) -> bool:
    """Record a hub id of a base; return False if it is recorded already."""
    added = (
        insert(conn, base_hub_ids)
        .values(base_id=base_id, hub_id=hub_id, revision=revision)
        .on_conflict_do_nothing(index_elements=["base_id", "hub_id", "revision"])
        .returning(base_hub_ids.c.base_id)
    )
    return conn.execute(added).scalar() is not None


def hub_ids(conn: sa.Connection, base_id: int) -> Sequence[HubIdRow]:
    """List the hub ids of a base."""
    query = select_hub_ids().where(base_hub_ids.c.base_id == base_id)
    query = query.order_by(base_hub_ids.c.hub_id, base_hub_ids.c.revision)
    return fetch_all(conn, query, HubIdRow)


def select_hub_ids() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for the hub ids of bases."""
    return sa.select(base_hub_ids.c.base_id, base_hub_ids.c.hub_id, base_hub_ids.c.revision)


def versions_on(
    conn: sa.Connection, base_id: int, *, sight: VisibleLines | None, before: int | None, limit: int
) -> Sequence[VersionRow]:
    """List the versions of a base, newest first by row id; deleted ones are left out."""
    query = (
        in_sight(select_versions(), sight)
        .where(versions.c.base_id == base_id, versions.c.deleted_at.is_(None))
        .order_by(versions.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(versions.c.id < before)
    return fetch_all(conn, query, VersionRow)


def verdicts_on(
    conn: sa.Connection, version_ids: Iterable[int], *, suite: str, suite_digest: str
) -> tuple[list[VerdictRow], dict[str, list[WaiverRow]]]:
    """List the verdicts of a suite, at the given digest, about some versions, newest first.

    The second value is their waivers by verdict, oldest first.
    """
    result = _ON.run(conn, ids=write_ids(version_ids), suite=suite, digest=suite_digest)
    waived: dict[str, list[WaiverRow]] = {}
    for row in result.all(_WAIVERS):
        waived.setdefault(row.verdict_id, []).append(row)
    return result.all(_VERDICTS), waived


_IDS: sa.BindParameter[str] = sa.bindparam("ids", type_=sa.Text)
_OF_SUITE: Final = sa.and_(
    among(verdicts.c.version_id, _IDS),
    is_of_suite(sa.bindparam("suite", type_=sa.Text)),
    verdicts.c.suite_digest == sa.bindparam("digest"),
)
_VERDICTS: Final = QueryPart(
    select_verdicts().where(_OF_SUITE), VerdictRow, order=(verdicts.c.created_at.desc(), verdicts.c.id.desc())
)
_WAIVERS: Final = QueryPart(
    select_waivers().join(verdicts, verdicts.c.id == waivers.c.verdict_id).where(_OF_SUITE),
    WaiverRow,
    order=(waivers.c.created_at, waivers.c.id),
)
_ON: Final = CombinedQuery(_VERDICTS, _WAIVERS)
