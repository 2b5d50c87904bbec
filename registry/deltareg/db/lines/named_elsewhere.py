"""What tells of a line, a channel or a namespace by name, taken along when that changes.

The audit trail and what was signed stay as they were written.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.tables import (
    base_aliases,
    bases,
    hub_areas,
    hub_drafts,
    hub_staged,
    hub_tickets,
    outbox,
    runs,
    tokens,
    uploads,
    version_bases,
    versions,
    webhooks,
)

_OF_HUB = (hub_drafts, hub_staged, hub_areas, hub_tickets)
_ONE_EACH = (hub_drafts, hub_areas)  # of a line and a principal there is one


def rename_bases(conn: sa.Connection, delta_id: int, *, before: str, after: str, by: int) -> None:
    """Give the versions of a line that are bases the names that go with the line's."""
    own = sa.select(version_bases.c.base_id).join(versions, versions.c.id == version_bases.c.version_id)
    query = sa.select(bases.c.id, bases.c.name).where(bases.c.id.in_(own.where(versions.c.delta_id == delta_id)))
    _name_bases(conn, [(row.id, row.name) for row in conn.execute(query)], before=before, after=after, by=by)


def rename_bases_within(conn: sa.Connection, before: str, after: str, *, by: int) -> None:
    """Give all bases of a namespace the names that go with its own."""
    query = sa.select(bases.c.id, bases.c.name).where(bases.c.name.startswith(f"{before}/", autoescape=True))
    _name_bases(conn, [(row.id, row.name) for row in conn.execute(query)], before=before, after=after, by=by)


def rename_for_hub(conn: sa.Connection, before: str, after: str) -> None:
    """Take along what clients of the hub have sent for a line; a draft of the new name goes first."""
    for table in _OF_HUB:
        moved = sa.update(table).where(table.c.line == before)
        if table in _ONE_EACH:
            there = table.alias()
            is_there = sa.exists().where(there.c.line == after, there.c.principal_id == table.c.principal_id)
            moved = moved.where(~is_there)
        conn.execute(moved.values(line=after))


def rename_events(conn: sa.Connection, before: tuple[str, str], after: tuple[str, str]) -> None:
    """Take the events of a line along, those that are still to be told as well."""
    is_of = sa.and_(outbox.c.namespace == before[0], outbox.c.line == before[1])
    conn.execute(sa.update(outbox).where(is_of).values(namespace=after[0], line=after[1]))


def rename_webhooks(conn: sa.Connection, namespace_id: int, before: str, after: str) -> None:
    """Let webhooks that are about one line alone be about it by its new name."""
    is_about = sa.and_(webhooks.c.namespace_id == namespace_id, webhooks.c.lines == before)
    conn.execute(sa.update(webhooks).where(is_about).values(lines=after))


def move_runs(conn: sa.Connection, delta_id: int, namespace_id: int) -> None:
    """Let the runs of a line wait in the turn of another namespace."""
    own = sa.select(versions.c.id).where(versions.c.delta_id == delta_id)
    conn.execute(sa.update(runs).where(runs.c.version_id.in_(own)).values(namespace_id=namespace_id))


def lock_uploads(conn: sa.Connection, line: str) -> dict[str, int]:
    """Lock what is being sent to a line, as a push does before it locks the line; return who sends, by upload."""
    is_of = sa.or_(uploads.c.target == line, uploads.c.target.startswith(f"{line}:", autoescape=True))
    query = sa.select(uploads.c.id, uploads.c.principal_id).where(is_of, uploads.c.state == "open")
    return {row.id: row.principal_id for row in conn.execute(query.order_by(uploads.c.id).with_for_update())}


def abort_uploads(conn: sa.Connection, upload_ids: Iterable[str]) -> None:
    """Abort uploads that are locked; they are collected."""
    is_one = sa.and_(uploads.c.id.in_(sorted(upload_ids)), uploads.c.state == "open")
    conn.execute(sa.update(uploads).where(is_one).values(state="aborted", manifest=None))


def rename_namespace(conn: sa.Connection, before: str, after: str) -> None:
    """Take along all that is written with the name of a namespace before it, but bases and packs."""
    inside = f"{before}/"
    for table, column in ((uploads, "target"), *((table, "line") for table in _OF_HUB)):
        cut = sa.func.substr(table.c[column], len(inside) + 1)
        conn.execute(
            sa.update(table)
            .where(table.c[column].startswith(inside, autoescape=True))
            .values({column: sa.literal(f"{after}/") + cut})
        )
    conn.execute(sa.update(uploads).where(uploads.c.scope == f"ns:{before}").values(scope=f"ns:{after}"))
    conn.execute(sa.update(outbox).where(outbox.c.namespace == before).values(namespace=after))
    limited = conn.execute(sa.select(tokens.c.id, tokens.c.namespaces).where(tokens.c.namespaces.is_not(None)))
    for row in limited.all():
        if before in row.namespaces:
            names = [after if name == before else name for name in row.namespaces]
            conn.execute(sa.update(tokens).where(tokens.c.id == row.id).values(namespaces=names))


def _name_bases(conn: sa.Connection, found: Iterable[tuple[int, str]], *, before: str, after: str, by: int) -> None:
    for base_id, name in found:
        named = after + name.removeprefix(before)
        conn.execute(sa.delete(base_aliases).where(base_aliases.c.name == named))
        conn.execute(sa.update(bases).where(bases.c.id == base_id).values(name=named))
        conn.execute(sa.delete(base_aliases).where(base_aliases.c.name == name))
        conn.execute(sa.insert(base_aliases).values(name=name, base_id=base_id, created_by=by))
