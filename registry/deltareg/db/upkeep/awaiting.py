"""What waits for a collection and which packs it would free, in one statement each.

Both queries take two grace periods at once: the one in force, and the shortest of interest.
"""

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.runs.run_log import select_old_logs
from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.plain_rows import MomentRow
from deltareg.db.sql.together import CombinedQuery, CombinedResult, QueryPart
from deltareg.db.storage.forms import is_kept, is_old
from deltareg.db.tables import (
    base_packs,
    deltas,
    form_packs,
    forms,
    lineage,
    namespaces,
    packs,
    uploads,
    version_bases,
    version_packs,
    versions,
)
from deltareg.db.upkeep.collection import is_idle, waits
from deltareg.db.upkeep.pins import AskedWindow, PinWindow, is_pinned
from deltareg.db.upkeep.released import IS_LEFT
from deltareg.db.upkeep.rows import AwaitingRow, DeletedRow, FormerRow, FreedRow, HoldingRow, RunLogsRow, StalledRow

FOR_EVER_US: Final = 1 << 62
"""How long logs are kept that are never dropped."""
_Select = sa.Select[*tuple[Any, ...]]


def _number(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=sa.BigInteger)


_LIMIT: Final = _number("limit")
_WINDOW: Final = AskedWindow(_number("moves"), _number("window_us"))
# As a query of its own, which is asked once: an index is of use then, and it is one moment.
_NOW: Final = sa.select(now_us()).scalar_subquery()
_parents = versions.alias("parents")


def awaiting(
    conn: sa.Connection, *, window: PinWindow, grace_us: int, least_us: int, keep_logs_us: int, limit: int
) -> CombinedResult:
    """Fetch what waits for a collection.

    Args:
        conn: A transaction.
        window: How long channels pin what they served.
        grace_us: The idle time after which a collection closes a push.
        least_us: The shortest idle time that counts at all.
        keep_logs_us: How long the logs of runs are kept.
        limit: How many versions and forms to list by name.
    """
    return _AWAITING.run(
        conn,
        moves=window.moves,
        window_us=window.us,
        grace_us=grace_us,
        least_us=least_us,
        keep_logs_us=keep_logs_us,
        limit=limit,
    )


def freed_packs(conn: sa.Connection, *, leaving: Iterable[int], least: Iterable[int], keep_forms_us: int) -> FreedRow:
    """Sum the packs that nothing needs, or that only leaving versions and old forms need.

    Args:
        conn: A transaction.
        leaving: The versions that a collection would release now.
        least: The versions that it would release with the shortest grace, which include the former.
        keep_forms_us: How long a stored form is kept after another one took its place.
    """
    result = _FREED.run(conn, leaving=write_ids(leaving), least=write_ids(least), keep_forms_us=keep_forms_us)
    parts = [*result.all(_LEFT_BY_ALL), *result.all(_NEEDED_BY_NONE)]
    return FreedRow(
        packs=sum(part.packs for part in parts),
        size_bytes=sum(part.size_bytes for part in parts),
        least_packs=sum(part.least_packs for part in parts),
        least_bytes=sum(part.least_bytes for part in parts),
    )


def _join_names(query: _Select) -> _Select:
    return query.join(deltas, deltas.c.id == versions.c.delta_id).join(
        namespaces, namespaces.c.id == deltas.c.namespace_id
    )


_NAMES: Final = (namespaces.c.name.label("namespace"), deltas.c.name.label("line"), versions.c.number)
MOMENT: Final = QueryPart(sa.select(now_us().label("now")), MomentRow)
WAITING: Final = QueryPart(
    sa.select(
        versions.c.id,
        versions.c.deleted_at,
        is_pinned(_WINDOW, lines=sa.select(_parents.c.delta_id).where(waits(_parents))).label("is_pinned"),
    ).where(waits(versions)),
    AwaitingRow,
)
MADE_FROM: Final = QueryPart(
    sa.select(_parents.c.id.label("version_id"), versions.c.id.label("child_id"))
    .select_from(_parents)
    # As a value and not as the column, so that SQLite begins with what waits, which is little.
    .join(lineage, lineage.c.parent_version_id == sa.func.coalesce(_parents.c.id, 0))
    .join(versions, versions.c.id == lineage.c.version_id)
    .where(waits(_parents), versions.c.released_at.is_(None)),
    HoldingRow,
)
"""The versions that were made from one that waits, and still hold their bytes."""
STANDING_ON: Final = QueryPart(
    sa.select(_parents.c.id.label("version_id"), versions.c.id.label("child_id"))
    .select_from(_parents)
    .join(version_bases, version_bases.c.version_id == _parents.c.id)
    .join(versions, versions.c.base_id == version_bases.c.base_id)
    .where(waits(_parents), versions.c.released_at.is_(None)),
    HoldingRow,
)
"""Those that stand on one."""
DELETED: Final = QueryPart(
    _join_names(sa.select(versions.c.id, *_NAMES, versions.c.deleted_at, versions.c.stored_bytes)).where(
        waits(versions)
    ),
    DeletedRow,
    order=(versions.c.deleted_at, versions.c.id),
    limit=_LIMIT,
)
"""What waits by its name, those first that were deleted first."""
FORMERS: Final = QueryPart(
    _join_names(
        sa.select(forms.c.id, *_NAMES, forms.c.stored_bytes, forms.c.created_at)
        .select_from(forms)
        .join(versions, versions.c.id == forms.c.version_id)
    ).where(is_kept()),
    FormerRow,
    order=(forms.c.created_at, forms.c.id),
    limit=_LIMIT,
)
"""Stored forms that are kept beside those that are served, the oldest first."""


def _idle_since(name: str) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((is_idle(_number(name)), 1), else_=0)), 0)


STALLED: Final = QueryPart(
    sa.select(_idle_since("grace_us").label("now"), _idle_since("least_us").label("least")).where(
        uploads.c.state == "open"
    ),
    StalledRow,
)
RUN_LOGS: Final = QueryPart(select_old_logs(_NOW - _number("keep_logs_us")), RunLogsRow)
_AWAITING: Final = CombinedQuery(MOMENT, WAITING, MADE_FROM, STANDING_ON, DELETED, FORMERS, STALLED, RUN_LOGS)


def _select_holders() -> sa.CompoundSelect[Any, Any, int]:
    """Select who needs packs: the version, if any, and whether it is a form about to be dropped."""
    is_to_go = sa.case((is_old(_number("keep_forms_us")), 1), else_=0)
    none = sa.literal_column("0", sa.Integer)
    return sa.union_all(
        sa.select(version_packs.c.pack_id, version_packs.c.version_id, none.label("is_to_go")),
        sa.select(base_packs.c.pack_id, version_bases.c.version_id, none).outerjoin(
            version_bases, version_bases.c.base_id == base_packs.c.base_id
        ),
        sa.select(form_packs.c.pack_id, forms.c.version_id, is_to_go).join(forms, forms.c.id == form_packs.c.form_id),
    )


def _let_go() -> sa.CompoundSelect[Any]:
    """Select the packs that some holder releases."""
    ids = sa.bindparam("least", type_=sa.Text)
    by_form = sa.or_(among(forms.c.version_id, ids), is_old(_number("keep_forms_us")))
    return sa.union(
        sa.select(version_packs.c.pack_id).where(among(version_packs.c.version_id, ids)),
        sa.select(base_packs.c.pack_id)
        .join(version_bases, version_bases.c.base_id == base_packs.c.base_id)
        .where(among(version_bases.c.version_id, ids)),
        sa.select(form_packs.c.pack_id).join(forms, forms.c.id == form_packs.c.form_id).where(by_form),
    )


def _stays(held: sa.FromClause, name: str) -> sa.ColumnElement[int]:
    goes = sa.or_(held.c.is_to_go == 1, among(held.c.version_id, sa.bindparam(name, type_=sa.Text)))
    return sa.func.max(sa.case((goes, 0), else_=1))


def _left_by_all() -> _Select:
    holders = _select_holders().subquery("held")
    by_pack = (
        sa.select(holders.c.pack_id, _stays(holders, "leaving").label("now"), _stays(holders, "least").label("least"))
        .where(holders.c.pack_id.in_(_let_go()))
        .group_by(holders.c.pack_id)
        .subquery("by_pack")
    )
    return _sums(now=by_pack.c.now == 0, least=by_pack.c.least == 0).join_from(
        by_pack, packs, packs.c.id == by_pack.c.pack_id
    )


def _sums(*, now: sa.ColumnElement[bool], least: sa.ColumnElement[bool]) -> _Select:
    return sa.select(
        _sum(now, sa.literal_column("1", sa.Integer)).label("packs"),
        _sum(now, packs.c.size_bytes).label("size_bytes"),
        _sum(least, sa.literal_column("1", sa.Integer)).label("least_packs"),
        _sum(least, packs.c.size_bytes).label("least_bytes"),
    )


def _sum(which: sa.ColumnElement[bool], value: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    added = sa.func.sum(sa.case((which, value), else_=0))
    return sa.cast(sa.func.coalesce(added, 0), sa.BigInteger)


_LEFT_BY_ALL: Final = QueryPart(_left_by_all(), FreedRow)
_NEEDED_BY_NONE: Final = QueryPart(_sums(now=sa.true(), least=sa.true()).select_from(packs).where(IS_LEFT), FreedRow)
_FREED: Final = CombinedQuery(_LEFT_BY_ALL, _NEEDED_BY_NONE)
