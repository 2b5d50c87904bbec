"""Overviews, each by one statement."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.channels.floors import floor_columns
from deltareg.db.lines.deltas import newest_id
from deltareg.db.overview.rows import CountsRow, FacetRow, GlanceRow, WeightsRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_known
from deltareg.db.tables import (
    bases,
    channels,
    deltas,
    freezes,
    line_counts,
    namespaces,
    principals,
    quarantines,
    requests,
    reviews,
    revisions,
    runs,
    verdicts,
    versions,
)
from deltareg.db.tables.runs import ACTIVE
from deltareg.db.verdicts.outcomes import of_own_identity
from deltareg.db.verdicts.signing import is_for_all, shown_outcome


def channels_at_a_glance(
    conn: sa.Connection, *, suite: str, sight: VisibleLines | None, limit: int
) -> Sequence[GlanceRow]:
    """List the most recently moved channels, newest first, with what is unusual about them.

    Channels with a move that waits for review are included, however long ago they were moved.
    """
    # First which: what is odd about a channel is asked of those that are shown alone. By their own
    # order, which is nearly that of time, the newest moves are come upon first.
    shown = (
        in_sight(
            sa.select(channels.c.id)
            .join(revisions, _newest())
            .join(deltas, deltas.c.id == channels.c.delta_id)
            .join(namespaces, namespaces.c.id == deltas.c.namespace_id),
            sight,
        )
        .order_by(revisions.c.id.desc())
        .limit(limit)
    )
    waits = in_sight(
        sa.select(revisions.c.channel_id.label("id"))
        .join(channels, channels.c.id == revisions.c.channel_id)
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(_is_to_review(revisions)),
        sight,
    ).limit(limit)
    picked = sa.union(sa.select(shown.subquery()), sa.select(waits.subquery())).subquery("picked")
    beginning = picked.join(channels, channels.c.id == picked.c.id)
    newest_first = revisions.c.created_at.desc(), revisions.c.id.desc()
    query = _glances(suite, beginning).order_by(*newest_first)
    return fetch_all(conn, query, GlanceRow)


def channels_of_line(conn: sa.Connection, delta_id: int, *, suite: str, channel: str | None = None) -> list[GlanceRow]:
    """List the channels of a line that were ever moved, or only the one of the given name."""
    query = _glances(suite).where(channels.c.delta_id == delta_id)
    if channel is not None:
        query = query.where(channels.c.name == channel)
    return fetch_all(conn, query, GlanceRow)


def counts(conn: sa.Connection, sight: VisibleLines | None) -> CountsRow:
    """Count the lines that a caller may read, and the runs of the whole queue."""
    query = sa.select(
        sa.func.count().label("lines"), _in_state("queued").label("queued"), _in_state("running").label("running")
    )
    lines = query.select_from(deltas).join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    return fetch_known(conn, in_sight(lines, sight), CountsRow)


def weights(conn: sa.Connection, sight: VisibleLines | None) -> WeightsRow:
    """Sum up the versions that a caller may read."""
    query = (
        sa.select(*(_sum(line_counts.c[name]).label(name) for name in ("versions", "logical_bytes", "stored_bytes")))
        .select_from(line_counts)
        .join(deltas, deltas.c.id == line_counts.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    )
    return fetch_known(conn, in_sight(query, sight), WeightsRow)


def facets(conn: sa.Connection, sight: VisibleLines | None) -> Sequence[FacetRow]:
    """Count lines by namespace, and by kind and base of their newest version."""
    # By numbers first: names are longer to compare, and of thousands of lines few are left then.
    counted = in_sight(
        sa.select(deltas.c.namespace_id, versions.c.kind, versions.c.base_id, sa.func.count().label("lines"))
        .select_from(deltas)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .join(versions, versions.c.id == newest_id(deltas.c.id))
        .group_by(deltas.c.namespace_id, versions.c.kind, versions.c.base_id),
        sight,
    ).subquery("counted")
    query = (
        sa.select(namespaces.c.name.label("namespace"), counted.c.kind, bases.c.name.label("base"), counted.c.lines)
        .join(namespaces, namespaces.c.id == counted.c.namespace_id)
        .outerjoin(bases, bases.c.id == counted.c.base_id)
        .order_by(counted.c.lines.desc(), namespaces.c.name, counted.c.kind, bases.c.name)
    )
    return fetch_all(conn, query, FacetRow)


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


def _in_state(state: str) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).where(ACTIVE, runs.c.state == state).scalar_subquery()


def _is_to_review(moves: sa.FromClause) -> sa.ColumnElement[bool]:
    reviewed = sa.exists().where(reviews.c.revision_id == moves.c.id)
    return sa.and_(moves.c.break_glass.is_(True), ~reviewed)


def _has_before() -> sa.ColumnElement[bool]:
    """Whether a channel has served another version that is not quarantined there."""
    earlier, standing = revisions.alias("before"), quarantines.alias("held")
    is_held = sa.exists().where(
        standing.c.channel_id == earlier.c.channel_id,
        standing.c.version_id == earlier.c.version_id,
        standing.c.cleared_at.is_(None),
    )
    return (
        sa.exists()
        .where(
            earlier.c.channel_id == channels.c.id,
            earlier.c.version_id != revisions.c.version_id,
            earlier.c.kind.in_(["promote", "rollback"]),
            ~is_held,
        )
        .correlate(channels, revisions)
    )


def _glances(suite: str, start: sa.FromClause = channels) -> sa.Select[*tuple[Any, ...]]:
    quarantined = (
        sa.select(sa.func.count())
        .where(quarantines.c.channel_id == channels.c.id, quarantines.c.cleared_at.is_(None))
        .correlate(channels)
        .scalar_subquery()
    )
    verdict = (
        sa.select(shown_outcome())
        .where(
            is_for_all(),
            verdicts.c.version_id == versions.c.id,
            verdicts.c.suite == suite,
            verdicts.c.base_root == versions.c.base_root,
            of_own_identity(),
        )
        .order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
        .limit(1)
        .correlate(versions)
        .scalar_subquery()
    )
    broken, opener = revisions.alias("broken"), principals.alias("opener")
    to_review = (
        sa.select(broken.c.number)
        .where(broken.c.channel_id == channels.c.id, _is_to_review(broken))
        .order_by(broken.c.id.desc())  # of the greatest number, SQLite reads all moves of the channel
        .limit(1)
        .correlate(channels)
        .scalar_subquery()
    )
    return (
        sa.select(
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            channels.c.name.label("channel"),
            revisions.c.number,
            revisions.c.kind,
            versions.c.number.label("version"),
            principals.c.name.label("actor"),
            revisions.c.reason,
            revisions.c.created_at,
            freezes.c.ends_at,
            channels.c.policy,
            *floor_columns(),
            to_review.label("to_review"),
            _has_before().label("has_before"),
            requests.c.id.label("request"),
            opener.c.name.label("opener"),
            versions.c.revoked_at,
            quarantined.label("quarantined"),
            verdict.label("verdict"),
            now_us().label("now"),
        )
        .select_from(start)
        .join(revisions, _newest())
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .join(principals, principals.c.id == revisions.c.actor_id)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
        .outerjoin(freezes, freezes.c.revision_id == revisions.c.id)
        .outerjoin(requests, requests.c.revision_id == revisions.c.id)
        .outerjoin(opener, opener.c.id == requests.c.opener_id)
    )


def _newest() -> sa.ColumnElement[bool]:
    return sa.and_(
        revisions.c.channel_id == channels.c.id,
        revisions.c.number == channels.c.revision,
        channels.c.deleted_at.is_(None),
    )
