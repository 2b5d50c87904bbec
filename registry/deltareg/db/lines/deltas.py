"""Namespaces and delta lines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.lines.rows import LineRow, ListedLineRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.page_size import rows_at_most
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.tables import audit, bases, channels, deltas, line_counts, namespaces, search_terms, verdicts, versions
from deltareg.db.verdicts.signing import is_for_all, shown_outcome

# Once: SQLAlchemy makes all columns of an alias when it is first asked for one.
_OTHERS: Final = versions.alias("others")
_DIGEST: Final = "sha256:"
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,64}")


def namespace_id(conn: sa.Connection, name: str) -> int | None:
    """Return the id of a namespace, or None if there is none."""
    return conn.execute(sa.select(namespaces.c.id).where(namespaces.c.name == name)).scalar()


@dataclass(frozen=True, slots=True)
class MadeNamespace:
    """A namespace after `add_namespace`: its row, and whether the call created it."""

    id: int
    is_new: bool


def add_namespace(conn: sa.Connection, name: str, *, created_by: int) -> MadeNamespace:
    """Insert a namespace, or return the one that was created meanwhile."""
    insert = sa.insert(namespaces).values(name=name, created_by=created_by)
    try:
        with conn.begin_nested():
            row_id = conn.execute(insert.returning(namespaces.c.id)).scalar_one()
            return MadeNamespace(int(row_id), is_new=True)
    except IntegrityError:
        query = sa.select(namespaces.c.id).where(namespaces.c.name == name)
        return MadeNamespace(int(conn.execute(query).scalar_one()), is_new=False)


def delta_row(conn: sa.Connection, namespace: str, name: str, *, lock: bool = False) -> LineRow | None:
    """Find a line; with `lock`, nobody else takes a version number until the transaction ends."""
    return (_LOCKED if lock else _NAMED).one(conn, namespace=namespace, name=name)


def lock_line(conn: sa.Connection, delta_id: int) -> None:
    """Lock a line until the transaction ends: it keeps its name and its namespace, and takes no version."""
    conn.execute(sa.select(deltas.c.id).where(deltas.c.id == delta_id).with_for_update())


def add_delta(conn: sa.Connection, namespace_id: int, name: str, *, created_by: int) -> None:
    """Insert a line; do nothing if it was created meanwhile."""
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(deltas).values(namespace_id=namespace_id, name=name, created_by=created_by))
    except IntegrityError:
        return


def set_deleted(conn: sa.Connection, delta_id: int, at: int | None) -> None:
    """Mark a line that the caller has locked as deleted at a time, or as there."""
    conn.execute(sa.update(deltas).where(deltas.c.id == delta_id).values(deleted_at=at))


def set_deprecation(conn: sa.Connection, delta_id: int, deprecation: Mapping[str, str] | None) -> None:
    """Deprecate a line that the caller has locked, or end that with None."""
    conn.execute(sa.update(deltas).where(deltas.c.id == delta_id).values(deprecation=deprecation))


def take_number(conn: sa.Connection, delta_id: int) -> int:
    """Take the next version number of a line; a number is never given out twice."""
    update = (
        sa.update(deltas)
        .where(deltas.c.id == delta_id)
        .values(next_version=deltas.c.next_version + 1)
        .returning(deltas.c.next_version)
    )
    return int(conn.execute(update).scalar_one()) - 1


@dataclass(frozen=True, slots=True)
class AskedLabel:
    """A label to search for, with a value, or with any if that is None.

    The name becomes part of a JSON path and contains no quotation mark and no backslash.
    """

    name: str
    value: str | None

    def is_on(self, version: sa.FromClause) -> sa.ColumnElement[bool]:
        """Return the condition that a version has the label."""
        value: sa.ColumnElement[str] = version.c.labels[self.name].as_string()
        return value.is_not(None) if self.value is None else value == self.value


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines to list; None means no restriction.

    Attributes:
        namespace: The namespace that they are in.
        base: The base of the newest version, by name.
        kind: The kind of the newest version.
        verdict: The newest outcome of `suite_digest` on the newest version; `none` for none.
        channel: A channel that serves a version of the line.
        labels: Labels of the newest version.
        text: A part of the line's name, or of the label, message, kind or base of the newest
            version, a word of its card, or the beginning of the digest of any version.
        suite_digest: The suite that `verdict` refers to.
        sight: The lines that the caller may see; None for all.
    """

    namespace: str | None = None
    base: str | None = None
    kind: str | None = None
    verdict: str | None = None
    channel: str | None = None
    labels: Sequence[AskedLabel] = ()
    text: str | None = None
    suite_digest: str = ""
    sight: VisibleLines | None = None


def line_rows(conn: sa.Connection, *, only: LineFilter, after: str | None, limit: int) -> Sequence[ListedLineRow]:
    """List lines by namespace and name, with their number of versions and the newest version.

    The page is found first, by walking the names in order until it is full.
    """
    namespace, name = namespaces.c.name, deltas.c.name
    lines = (
        sa.select(deltas.c.id, deltas.c.created_at, namespace.label("namespace"), name.label("name"))
        # As a value and not as the column, so that SQLite begins with the namespaces: then lines
        # come in their order by index, and nothing is read beyond the page.
        .join(namespaces, deltas.c.namespace_id == sa.func.coalesce(namespaces.c.id, 0))
        .where(deltas.c.deleted_at.is_(None))
        .order_by(namespace, name)
        .limit(rows_at_most(limit))
    )
    lines = _filter_lines(lines, only)
    if after is not None:
        last, _, last_name = after.partition("/")
        is_further = sa.or_(namespace > last, sa.and_(namespace == last, name > last_name))
        lines = lines.where(namespace >= last, is_further)
    page = lines.subquery("page")
    query = sa.select(
        page.c.id,
        page.c.created_at,
        (page.c.namespace + "/" + page.c.name).label("path"),
        count_versions(line_counts.c.delta_id == page.c.id).label("versions"),
        newest_id(page.c.id).label("newest_id"),
        sa.select(sa.func.max(audit.c.id)).scalar_subquery().label("mark"),
    ).order_by(page.c.namespace, page.c.name)
    return fetch_all(conn, query, ListedLineRow)


def _filter_lines(query: sa.Select[*tuple[Any, ...]], only: LineFilter) -> sa.Select[*tuple[Any, ...]]:
    query = in_sight(query, only.sight)
    if only.namespace is not None:
        query = query.where(namespaces.c.name == only.namespace)
    if only.channel is not None:
        serves = sa.exists().where(
            channels.c.delta_id == deltas.c.id,
            channels.c.name == only.channel,
            channels.c.revision > 0,
            channels.c.deleted_at.is_(None),
        )
        query = query.where(serves)
    newest = versions.alias("newest")
    conditions: list[sa.ColumnElement[bool]] = []
    if only.base is not None:
        base_id = sa.select(bases.c.id).where(bases.c.name == only.base).scalar_subquery()
        conditions.append(newest.c.base_id == base_id)
    if only.kind is not None:
        conditions.append(newest.c.kind == only.kind)
    if only.text is not None:
        query = query.where(_mentions(only.text, newest_id(deltas.c.id)))
    conditions += [label.is_on(newest) for label in only.labels]
    if only.verdict is not None:
        outcome = sa.func.coalesce(_newest_outcome(newest, only.suite_digest), "none")
        conditions.append(outcome == only.verdict)
    if not conditions:
        return query
    return query.where(_of_newest(newest, deltas.c.id, sa.and_(*conditions)))


def _of_newest(
    newest: sa.FromClause, delta_id: sa.ColumnElement[int], what: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Ask something of a line's newest version: as a value, which is found line by line, by an index.

    Of a condition that it exists, PostgreSQL makes a join, and reads all versions of a base for it.
    """
    found = sa.select(what).where(newest.c.delta_id == delta_id, newest.c.deleted_at.is_(None))
    return found.order_by(newest.c.number.desc()).limit(1).correlate_except(newest).scalar_subquery()


def newest_id(delta_id: sa.ColumnElement[int]) -> sa.ScalarSelect[int]:
    """Return a subquery for the row of a line's newest version that is not deleted, by an index."""
    return (
        sa.select(_OTHERS.c.id)
        .where(_OTHERS.c.delta_id == delta_id, _OTHERS.c.deleted_at.is_(None))
        .order_by(_OTHERS.c.number.desc())
        .limit(1)
        .correlate_except(_OTHERS)
        .scalar_subquery()
    )


def count_versions(which: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """Return a subquery for how many versions some `line_counts` have."""
    total = sa.cast(sa.func.coalesce(sa.func.sum(line_counts.c.versions), 0), sa.BigInteger)
    return sa.select(total).where(which).correlate_except(line_counts).scalar_subquery()


def _mentions(text: str, newest_id: sa.ScalarSelect[int]) -> sa.ColumnElement[bool]:
    """Whether a text is in a line's name or newest version, or begins the digest of any version."""
    newest = versions.alias("told")
    on = sa.select(bases.c.id).where(bases.c.name.icontains(text, autoescape=True))
    word = sa.exists().where(search_terms.c.term == text.strip().casefold(), search_terms.c.version_id == newest.c.id)
    within = [newest.c.kind, newest.c.message, sa.cast(newest.c.labels, sa.Text)]
    holds = [column.icontains(text, autoescape=True) for column in within]
    # The cheapest first: both databases leave off at what is so.
    name = namespaces.c.name + "/" + deltas.c.name
    ways = [
        name.icontains(text, autoescape=True),
        sa.exists().where(newest.c.id == newest_id, sa.or_(*holds, newest.c.base_id.in_(on), word)),
    ]
    digest = text.removeprefix(_DIGEST)
    if _HEX.fullmatch(digest):  # no other word begins one, and it is asked of all versions
        whole = versions.alias("whole")
        begins = whole.c.manifest_digest.startswith(_DIGEST + digest, autoescape=True)
        ways.append(sa.exists().where(whole.c.delta_id == deltas.c.id, begins))
    return sa.or_(*ways)


def _newest_outcome(version: sa.FromClause, suite_digest: str) -> sa.ScalarSelect[str]:
    return (
        sa.select(shown_outcome())
        .where(
            is_for_all(),
            verdicts.c.version_id == version.c.id,
            verdicts.c.base_root == version.c.base_root,
            verdicts.c.suite_digest == suite_digest,
        )
        .order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
        .limit(1)
        .correlate(version)
        .scalar_subquery()
    )


_NAMED_LINE: Final = (
    sa.select(deltas)
    .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    .where(namespaces.c.name == sa.bindparam("namespace"), deltas.c.name == sa.bindparam("name"))
)
_NAMED: Final = PreparedQuery(_NAMED_LINE, LineRow)
_LOCKED: Final = PreparedQuery(_NAMED_LINE.with_for_update(of=deltas), LineRow)
