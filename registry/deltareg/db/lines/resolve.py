"""Resolves a reference to a version with everything that is shown, in one prepared statement.

Each statement returns one row for every channel that serves the version, in the order of the
channels, and one row if none does. Nothing is cached beyond the transaction: a channel that another
server moved is read as it is now.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.access.bearers import BearerQuery
from deltareg.db.access.rows import LiveTokenRow
from deltareg.db.lines.version_rows import ResolvedRow
from deltareg.db.lines.versions import newest_number, select_versions
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.tables import (
    channels,
    deltas,
    lineage,
    namespaces,
    principals,
    revisions,
    revocations,
    verdicts,
    version_bases,
    versions,
)
from deltareg.db.verdicts.outcomes import of_own_identity
from deltareg.db.verdicts.signing import is_for_all, shown_outcome, warns

LineName = tuple[str, str]
"""Namespace and name of a line."""
ShownSuite = tuple[str, str]
"""Name and digest of the suite whose newest outcome is shown."""


Told = tuple[LiveTokenRow | None, Sequence[ResolvedRow]]
"""The token of who asks, None where it does not hold, and what was found for them."""


def on_channel(conn: sa.Connection, token_hash: str, line: LineName, channel: str, shown: ShownSuite) -> Told:
    """Find the version that a channel of a line serves now, along with the caller's token."""
    return _ON_CHANNEL.all(
        conn, token_hash, namespace=line[0], line=line[1], channel=channel, suite=shown[0], suite_digest=shown[1]
    )


def by_number(conn: sa.Connection, token_hash: str, line: LineName, number: int, shown: ShownSuite) -> Told:
    """Find a version of a line by its number, along with the caller's token."""
    return _BY_NUMBER.all(
        conn, token_hash, namespace=line[0], line=line[1], number=number, suite=shown[0], suite_digest=shown[1]
    )


def newest_of(conn: sa.Connection, token_hash: str, line: LineName, shown: ShownSuite) -> Told:
    """Find the newest version of a line that is not deleted, along with the caller's token."""
    return _NEWEST.all(conn, token_hash, namespace=line[0], line=line[1], suite=shown[0], suite_digest=shown[1])


def by_row_id(conn: sa.Connection, version_id: int, shown: ShownSuite) -> Sequence[ResolvedRow]:
    """Return a version by its row id."""
    return _BY_ROW_ID.all(conn, version_id=version_id, suite=shown[0], suite_digest=shown[1])


def _select() -> sa.Select[*tuple[Any, ...]]:
    serving, newest = channels.alias("serving"), revisions.alias("newest")
    withdrawn, withdrawer = revocations.alias("withdrawn"), principals.alias("withdrawer")
    newest_verdict = (
        sa.select()
        .select_from(verdicts)
        .where(
            is_for_all(),
            verdicts.c.version_id == versions.c.id,
            verdicts.c.base_root == versions.c.base_root,
            of_own_identity(),
            verdicts.c.suite == sa.bindparam("suite"),
            verdicts.c.suite_digest == sa.bindparam("suite_digest"),
        )
        .order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
        .limit(1)
    )
    # By the line's few channels: a join of all channels with what each serves would be made first. As a
    # value: where it is asked whether there is one, PostgreSQL may read all moves.
    served = (
        sa.select(newest.c.version_id)
        .where(newest.c.channel_id == serving.c.id, newest.c.number == serving.c.revision)
        .correlate(serving)
        .scalar_subquery()
    )
    serves = sa.and_(serving.c.delta_id == versions.c.delta_id, serving.c.deleted_at.is_(None), versions.c.id == served)
    return (
        select_versions()
        .add_columns(
            _of_one(newest_verdict, shown_outcome()).label("verdict"),
            _of_one(newest_verdict, warns()).label("warns"),
            sa.exists().where(lineage.c.version_id == versions.c.id).label("has_parents"),
            version_bases.c.depth.label("base_depth"),
            withdrawer.c.name.label("revoked_by"),
            withdrawn.c.reason.label("revoked_because"),
            withdrawn.c.created_at.label("withdrawn_at"),
            serving.c.name.label("serving"),
            serving.c.id.label("serving_id"),
        )
        .outerjoin(version_bases, version_bases.c.base_id == versions.c.base_id)
        .outerjoin(withdrawn, sa.and_(withdrawn.c.version_id == versions.c.id, withdrawn.c.ended_at.is_(None)))
        .outerjoin(withdrawer, withdrawer.c.id == withdrawn.c.actor_id)
        .outerjoin(serving, serves)
    )


def _of_one(verdict: sa.Select[()], told: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    return verdict.add_columns(told).correlate(versions).scalar_subquery()


def _of_line() -> sa.Select[*tuple[Any, ...]]:
    return _select().where(namespaces.c.name == sa.bindparam("namespace"), deltas.c.name == sa.bindparam("line"))


def _beside_token(query: sa.Select[*tuple[Any, ...]]) -> BearerQuery[ResolvedRow]:
    return BearerQuery(query, ResolvedRow, key="id", order="serving_id")


# As a value: joined as the ninth table and later, PostgreSQL would read all versions of the line first.
_ON_CHANNEL: Final = _beside_token(
    _of_line().where(
        versions.c.id
        == sa.select(revisions.c.version_id)
        .join(channels, sa.and_(revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision))
        .where(
            channels.c.delta_id == deltas.c.id,
            channels.c.name == sa.bindparam("channel"),
            channels.c.deleted_at.is_(None),
        )
        .correlate(deltas)
        .scalar_subquery()
    )
)
_BY_NUMBER: Final = _beside_token(_of_line().where(versions.c.number == sa.bindparam("number")))
_NEWEST: Final = _beside_token(_of_line().where(versions.c.number == newest_number()))
_BY_ROW_ID: Final = PreparedQuery(
    _select().where(versions.c.id == sa.bindparam("version_id")).order_by("serving_id"), ResolvedRow
)
