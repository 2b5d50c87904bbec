"""What triggers keep of lines, counted anew for fsck, and put right."""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.lines.rows import LineCountRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import deltas, line_counts, line_verdicts, namespaces, verdicts, version_variants, versions

_FIGURES = ("versions", "trained", "logical_bytes", "stored_bytes")


def kept_counts(conn: sa.Connection) -> set[LineCountRow]:
    """Return the counts of all lines as they are kept."""
    figures = [line_counts.c[name] for name in _FIGURES]
    is_any = sa.or_(*(figure != 0 for figure in figures))
    return set(fetch_all(conn, sa.select(line_counts).where(is_any), LineCountRow))


def recount(conn: sa.Connection) -> set[LineCountRow]:
    """Count all lines anew, in one pass over all versions."""
    return set(fetch_all(conn, _select_counts(), LineCountRow))


def set_counts(conn: sa.Connection, delta_id: int) -> None:
    """Count a line anew; nobody changes its versions until the transaction ends."""
    conn.execute(sa.select(deltas.c.id).where(deltas.c.id == delta_id).with_for_update())
    conn.execute(sa.delete(line_counts).where(line_counts.c.delta_id == delta_id))
    columns = ["delta_id", "base_id", *_FIGURES]
    conn.execute(sa.insert(line_counts).from_select(columns, _select_counts(delta_id)))


def lines_without_verdicts(conn: sa.Connection) -> dict[int, int]:
    """Count, by line, the verdicts that are not in the line's order."""
    query = (
        sa.select(versions.c.delta_id, sa.func.count())
        .select_from(_missing_verdicts())
        .where(line_verdicts.c.verdict_id.is_(None))
        .group_by(versions.c.delta_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def add_missing_verdicts(conn: sa.Connection) -> None:
    """Put the verdicts that are missing in the order of their lines there."""
    missing = (
        sa.select(versions.c.delta_id, verdicts.c.created_at, verdicts.c.id)
        .select_from(_missing_verdicts())
        .where(line_verdicts.c.verdict_id.is_(None))
    )
    conn.execute(sa.insert(line_verdicts).from_select(["delta_id", "created_at", "verdict_id"], missing))


def names_of_lines(conn: sa.Connection, delta_ids: Iterable[int]) -> dict[int, str]:
    """Return the names, `ns/name`, of some lines."""
    name = namespaces.c.name + "/" + deltas.c.name
    query = sa.select(deltas.c.id, name).join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    return {row[0]: row[1] for row in conn.execute(query.where(deltas.c.id.in_(sorted(delta_ids))))}


def _missing_verdicts() -> sa.FromClause:
    is_it = sa.and_(
        line_verdicts.c.delta_id == versions.c.delta_id,
        line_verdicts.c.created_at == verdicts.c.created_at,
        line_verdicts.c.verdict_id == verdicts.c.id,
    )
    return verdicts.join(versions, versions.c.id == verdicts.c.version_id).outerjoin(line_verdicts, is_it)


def _select_counts(delta_id: int | None = None) -> sa.Select[*tuple[int, ...]]:
    of_versions = sa.select(
        versions.c.delta_id,
        sa.func.coalesce(versions.c.base_id, 0).label("base_id"),
        sa.literal(1).label("versions"),
        sa.literal(0).label("trained"),
        versions.c.logical_bytes,
        versions.c.stored_bytes,
    )
    trained = sa.select(
        versions.c.delta_id,
        version_variants.c.base_id,
        sa.literal(0).label("versions"),
        sa.literal(1).label("trained"),
        sa.literal(0).label("logical_bytes"),
        sa.literal(0).label("stored_bytes"),
    ).join(version_variants, version_variants.c.version_id == versions.c.id)
    parts = [query.where(versions.c.deleted_at.is_(None)) for query in (of_versions, trained)]
    if delta_id is not None:
        parts = [query.where(versions.c.delta_id == delta_id) for query in parts]
    each = sa.union_all(*parts).subquery("each_version")
    sums = [sa.cast(sa.func.sum(each.c[name]), sa.BigInteger).label(name) for name in _FIGURES]
    return sa.select(each.c.delta_id, each.c.base_id, *sums).group_by(each.c.delta_id, each.c.base_id)
