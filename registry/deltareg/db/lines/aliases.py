"""Former names of lines, channels and namespaces, and giving them others.

Whoever changes a name takes the turn first (`take_turn`): then nobody else changes one until the
transaction ends, and every cache of names notices.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.lines.rows import AliasOfChannelRow, AliasOfLineRow
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import (
    channel_aliases,
    channels,
    deltas,
    line_aliases,
    namespace_aliases,
    namespaces,
    visibility_epochs,
)

_to = namespaces.alias("to_namespace")


def take_turn(conn: sa.Connection) -> None:
    """Wait until nobody else changes a name or a visibility, and raise the epoch of both."""
    conn.execute(sa.update(visibility_epochs).values(number=visibility_epochs.c.number + 1))


def namespace_names(conn: sa.Connection) -> dict[str, str]:
    """Return the former names of namespaces with the ones that they have now."""
    query = sa.select(namespace_aliases.c.name, namespaces.c.name.label("to_name")).join(
        namespaces, namespaces.c.id == namespace_aliases.c.namespace_id
    )
    return {row.name: row.to_name for row in conn.execute(query)}


def line_names(conn: sa.Connection) -> Sequence[AliasOfLineRow]:
    """List the former names of lines."""
    return fetch_all(conn, _select_lines(), AliasOfLineRow)


def channel_names(conn: sa.Connection) -> Sequence[AliasOfChannelRow]:
    """List the former names of channels."""
    query = (
        sa.select(
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            channel_aliases.c.name,
            channels.c.name.label("to_name"),
        )
        .select_from(channel_aliases)
        .join(channels, channels.c.id == channel_aliases.c.channel_id)
        .join(deltas, deltas.c.id == channel_aliases.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    )
    return fetch_all(conn, query, AliasOfChannelRow)


def alias_of_line(conn: sa.Connection, namespace: str, name: str) -> AliasOfLineRow | None:
    """Find where a former name of a line leads, its namespace named as it is now."""
    return fetch_one(
        conn, _select_lines().where(namespaces.c.name == namespace, line_aliases.c.name == name), AliasOfLineRow
    )


def alias_of_channel(conn: sa.Connection, delta_id: int, name: str) -> int | None:
    """Return the id of the channel that a former name leads to."""
    query = sa.select(channel_aliases.c.channel_id)
    return conn.execute(query.where(channel_aliases.c.delta_id == delta_id, channel_aliases.c.name == name)).scalar()


def alias_of_namespace(conn: sa.Connection, name: str) -> int | None:
    """Return the id of the namespace that a former name leads to."""
    return conn.execute(sa.select(namespace_aliases.c.namespace_id).where(namespace_aliases.c.name == name)).scalar()


def drop_line_alias(conn: sa.Connection, namespace_id: int, name: str) -> bool:
    """Let a former name of a line go; return False if there is none."""
    gone = sa.delete(line_aliases).where(line_aliases.c.namespace_id == namespace_id, line_aliases.c.name == name)
    return conn.execute(gone).rowcount > 0


def drop_channel_alias(conn: sa.Connection, delta_id: int, name: str) -> None:
    """Let a former name of a channel go."""
    conn.execute(
        sa.delete(channel_aliases).where(channel_aliases.c.delta_id == delta_id, channel_aliases.c.name == name)
    )


def drop_namespace_alias(conn: sa.Connection, name: str) -> bool:
    """Let a former name of a namespace go; return False if there is none."""
    return conn.execute(sa.delete(namespace_aliases).where(namespace_aliases.c.name == name)).rowcount > 0


def name_line(conn: sa.Connection, delta_id: int, *, namespace_id: int, name: str, by: int) -> bool:
    """Give a line another name, its own becoming an alias; return False if a line has that name."""
    before = conn.execute(sa.select(deltas.c.namespace_id, deltas.c.name).where(deltas.c.id == delta_id)).one()
    named = sa.update(deltas).where(deltas.c.id == delta_id).values(namespace_id=namespace_id, name=name)
    if not _is_done(conn, named):
        return False
    alias = {"namespace_id": before.namespace_id, "name": before.name, "delta_id": delta_id, "created_by": by}
    conn.execute(sa.insert(line_aliases).values(alias))
    return True


def name_channel(conn: sa.Connection, channel_id: int, *, delta_id: int, before: str, after: str, by: int) -> bool:
    """Give a channel another name, its own becoming an alias; return False if one has that name."""
    if not _is_done(conn, sa.update(channels).where(channels.c.id == channel_id).values(name=after)):
        return False
    alias = {"delta_id": delta_id, "name": before, "channel_id": channel_id, "created_by": by}
    conn.execute(sa.insert(channel_aliases).values(alias))
    return True


def name_namespace(conn: sa.Connection, namespace_id: int, *, before: str, after: str, by: int) -> bool:
    """Give a namespace another name, its own becoming an alias; return False if one has that name."""
    if not _is_done(conn, sa.update(namespaces).where(namespaces.c.id == namespace_id).values(name=after)):
        return False
    conn.execute(sa.insert(namespace_aliases).values(name=before, namespace_id=namespace_id, created_by=by))
    return True


def _select_lines() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            namespaces.c.name.label("namespace"),
            line_aliases.c.name,
            _to.c.name.label("to_namespace"),
            deltas.c.name.label("to_name"),
        )
        .select_from(line_aliases)
        .join(namespaces, namespaces.c.id == line_aliases.c.namespace_id)
        .join(deltas, deltas.c.id == line_aliases.c.delta_id)
        .join(_to, _to.c.id == deltas.c.namespace_id)
    )


def _is_done(conn: sa.Connection, change: sa.Update) -> bool:
    try:
        with conn.begin_nested():
            conn.execute(change)
    except IntegrityError:
        return False
    return True
