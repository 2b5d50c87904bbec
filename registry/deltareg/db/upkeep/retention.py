"""Rules of retention, and the versions of lines with all that decides whether one may go by itself."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import (
    agents,
    channels,
    deltas,
    followers,
    lineage,
    namespaces,
    principals,
    requests,
    retention_rules,
    revisions,
    runs,
    version_bases,
    versions,
)
from deltareg.db.tables.requests import OPEN
from deltareg.db.tables.runs import ACTIVE
from deltareg.db.upkeep.pins import PinWindow, is_pinned


@dataclass(frozen=True, slots=True)
class RetentionRuleRow:
    """A rule of a namespace or a line, and who answers for it; `kind` is empty for all other kinds."""

    id: int
    namespace_id: int | None
    delta_id: int | None
    kind: str
    keep: Mapping[str, object]
    principal_id: int
    principal: str
    is_live: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class RuledLineRow:
    """A line that some rule is for."""

    id: int
    namespace_id: int
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class RetainedRow:
    """A version that is there, with what keeps it whatever a rule says, and what a rule may ask.

    Attributes:
        id: Its row.
        delta_id: Its line.
        namespace: The namespace of its line.
        line: The name of its line.
        number: Its number.
        kind: Its kind.
        created_at: When it was pushed.
        semver: Its semantic version.
        labels: Its labels.
        age_us: How long ago it was pushed.
        is_pinned: Whether a channel serves it, or may be rolled back to it.
        was_promoted: Whether a channel ever served it.
        is_followed: Whether an agent reports that it serves it.
        is_asked_for: Whether somebody asks for its promotion, or a run on it has not ended.
    """

    id: int
    delta_id: int
    namespace: str
    line: str
    number: int
    kind: str
    created_at: int
    semver: str | None
    labels: Mapping[str, str]
    age_us: int
    is_pinned: bool
    was_promoted: bool
    is_followed: bool
    is_asked_for: bool


def rules_of(
    conn: sa.Connection, *, namespace_id: int | None = None, delta_id: int | None = None
) -> Sequence[RetentionRuleRow]:
    """List the rules of a namespace, of a line, or all of them, by kind."""
    query = (
        sa.select(
            retention_rules, principals.c.name.label("principal"), principals.c.disabled_at.is_(None).label("is_live")
        )
        .join(principals, principals.c.id == retention_rules.c.principal_id)
        .order_by(retention_rules.c.kind, retention_rules.c.id)
    )
    if namespace_id is not None:
        query = query.where(retention_rules.c.namespace_id == namespace_id)
    if delta_id is not None:
        query = query.where(retention_rules.c.delta_id == delta_id)
    return fetch_all(conn, query, RetentionRuleRow)


def replace_rules(
    conn: sa.Connection,
    *,
    namespace_id: int | None,
    delta_id: int | None,
    rules: Iterable[tuple[str, Mapping[str, object]]],
    principal_id: int,
) -> None:
    """Replace the rules of a namespace or a line that the caller has locked: kind and what it keeps."""
    column = retention_rules.c.namespace_id if delta_id is None else retention_rules.c.delta_id
    conn.execute(sa.delete(retention_rules).where(column == (namespace_id if delta_id is None else delta_id)))
    rows = [
        {
            "namespace_id": namespace_id,
            "delta_id": delta_id,
            "kind": kind,
            "keep": dict(keep),
            "principal_id": principal_id,
        }
        for kind, keep in rules
    ]
    if rows:
        conn.execute(sa.insert(retention_rules), rows)


def ruled_lines(conn: sa.Connection, *, after: int, limit: int) -> Sequence[RuledLineRow]:
    """List lines that a rule of their own or of their namespace is for, by row id."""
    own = sa.select(retention_rules.c.delta_id).where(retention_rules.c.delta_id.is_not(None))
    shared = sa.select(retention_rules.c.namespace_id).where(retention_rules.c.namespace_id.is_not(None))
    query = (
        sa.select(deltas.c.id, deltas.c.namespace_id, namespaces.c.name.label("namespace"), deltas.c.name)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(
            deltas.c.id > after,
            deltas.c.deleted_at.is_(None),
            sa.or_(deltas.c.id.in_(own), deltas.c.namespace_id.in_(shared)),
        )
        .order_by(deltas.c.id)
        .limit(limit)
    )
    return fetch_all(conn, query, RuledLineRow)


def versions_in(
    conn: sa.Connection, *, window: PinWindow, delta_id: int | None = None, namespace_id: int | None = None
) -> Sequence[RetainedRow]:
    """List the versions of a line, or of all lines of a namespace, that are there: newest first within a line."""
    of = deltas.c.id == delta_id if delta_id is not None else deltas.c.namespace_id == namespace_id
    lines = sa.select(deltas.c.id).where(of)
    was_promoted = sa.exists().where(
        revisions.c.version_id == versions.c.id, revisions.c.kind.in_(["promote", "rollback"])
    )
    # An agent may serve what its channel has left, or what a channel that is gone had.
    is_followed = versions.c.manifest_digest.in_(
        sa.select(followers.c.digest)
        .join(channels, channels.c.id == followers.c.channel_id)
        .join(agents, agents.c.id == followers.c.agent_id)
        .where(followers.c.digest.is_not(None), channels.c.delta_id.in_(lines))
    )
    is_asked_for = sa.or_(
        sa.exists().where(requests.c.version_id == versions.c.id, OPEN),
        sa.exists().where(runs.c.version_id == versions.c.id, ACTIVE),
    )
    query = (
        sa.select(
            versions.c.id,
            versions.c.delta_id,
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
            versions.c.kind,
            versions.c.created_at,
            versions.c.semver,
            versions.c.labels,
            (now_us() - versions.c.created_at).label("age_us"),
            is_pinned(window, lines=lines).label("is_pinned"),
            was_promoted.label("was_promoted"),
            is_followed.label("is_followed"),
            is_asked_for.label("is_asked_for"),
        )
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(of, versions.c.deleted_at.is_(None))
        .order_by(versions.c.delta_id, versions.c.number.desc())
    )
    return fetch_all(conn, query, RetainedRow)


def children_that_stand(conn: sa.Connection, version_ids: Collection[int]) -> dict[int, list[int]]:
    """Return, by version, those that are there and were made from it or stand on it as a base."""
    children: dict[int, list[int]] = {}
    ids = sa.literal(write_ids(version_ids), sa.Text)
    made = (
        sa.select(lineage.c.parent_version_id, lineage.c.version_id)
        .join(versions, versions.c.id == lineage.c.version_id)
        .where(among(lineage.c.parent_version_id, ids), versions.c.deleted_at.is_(None))
    )
    standing = (
        sa.select(version_bases.c.version_id, versions.c.id)
        .join(versions, versions.c.base_id == version_bases.c.base_id)
        .where(among(version_bases.c.version_id, ids), versions.c.deleted_at.is_(None))
    )
    for query in (made, standing):
        for parent, child in conn.execute(query):
            children.setdefault(parent, []).append(child)
    return children


def lock_versions_in(conn: sa.Connection, version_ids: Iterable[int]) -> None:
    """Lock versions in the order of their rows, as moves of channels do before they serve one."""
    query = sa.select(versions.c.id).where(versions.c.id.in_(sorted(version_ids)))
    conn.execute(query.order_by(versions.c.id).with_for_update()).all()
