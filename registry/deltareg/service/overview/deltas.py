"""The delta lines that match a search, with what their channels serve, and facets."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.rows import ListedLineRow
from deltareg.db.overview import overview as queries
from deltareg.db.overview.rows import FacetRow
from deltareg.db.session import read
from deltareg.db.verdicts.outcomes import newest_outcomes
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.clock import rfc3339
from deltareg.service.describe import describe_plain
from deltareg.service.lines.veil import is_seen, veil_base
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg.wire import Answer, Page, VersionInfo

_FACETS = 12
_KEEP_FACETS_S = 60.0


class LineGlance(Answer):
    """A line, its newest version, and the version that each of its channels serves."""

    line: str
    versions: int
    newest: VersionInfo | None
    channels: dict[str, int]
    created_at: str


class Facet(Answer):
    """A value that lines have, and the number of lines that have it."""

    value: str
    lines: int


class LineSearchResult(Answer):
    """The lines that match a search, and the facets by which all lines can be narrowed."""

    found: Page[LineGlance]
    namespaces: list[Facet]
    kinds: list[Facet]
    bases: list[Facet]


def look_for_lines(
    registry: Registry, caller: Caller, *, only: delta_queries.LineFilter, cursor: str | None, limit: int
) -> LineSearchResult:
    """List lines that the caller may read, by name, with facets over all of them."""
    caller.require(Right.READ, on=SOMEWHERE)
    after = read_cursor(cursor)
    digest = str(built_in(DEFAULT_SUITE).digest)
    conditions = replace(only, suite_digest=digest, sight=caller.sight)
    with read(registry.engine) as conn:
        rows = delta_queries.line_rows(conn, only=conditions, after=after, limit=check_limit(limit) + 1)
        newest = _newest(conn, caller, rows, digest)
        serving: dict[int, dict[str, int]] = {}
        for pointer in channel_queries.pointers(conn, [row.id for row in rows]):
            serving.setdefault(pointer.delta_id, {})[pointer.name] = pointer.number
        facets = _facets(registry, conn, caller, mark=rows[0].mark if rows else None)
    return LineSearchResult(
        found=page(
            rows,
            limit,
            key=lambda row: row.path,
            show=lambda row: LineGlance(
                line=row.path,
                versions=row.versions,
                newest=newest.get(row.newest_id or 0),
                channels=serving.get(row.id, {}),
                created_at=rfc3339(row.created_at),
            ),
        ),
        namespaces=_facet(facets, lambda row: row.namespace),
        kinds=_facet(facets, lambda row: row.kind),
        bases=_facet(facets, lambda row: row.base or "", is_shown=partial(is_seen, caller)),
    )


def _facets(registry: Registry, conn: sa.Connection, caller: Caller, *, mark: int | None) -> Sequence[FacetRow]:
    """Count the facets over all lines, or return the cached counts where nothing has changed since.

    Counts are cached for a minute only: of concurrent transactions, one with an older row may
    commit after a newer one.
    """
    count = partial(queries.facets, conn, caller.sight)
    if mark is None:
        return count()
    question = (caller.sight, mark)
    return registry.facets.get(question, count, keep_s=_KEEP_FACETS_S)


def _newest(
    conn: sa.Connection, caller: Caller, rows: Sequence[ListedLineRow], suite_digest: str
) -> dict[int, VersionInfo]:
    ids = [row.newest_id for row in rows if row.newest_id is not None]
    versions = version_queries.versions_by_ids(conn, ids)
    outcomes = newest_outcomes(conn, ids, suite=DEFAULT_SUITE, suite_digest=suite_digest)
    return {row_id: veil_base(caller, describe_plain(row, outcomes.get(row_id))) for row_id, row in versions.items()}


def _facet(
    rows: Sequence[FacetRow], value: Callable[[FacetRow], str], *, is_shown: Callable[[str], bool] = bool
) -> list[Facet]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[value(row)] += row.lines
    common = [(name, lines) for name, lines in counts.most_common() if name and is_shown(name)]
    return [Facet(value=name, lines=lines) for name, lines in common[:_FACETS]]
