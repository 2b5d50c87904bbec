"""Bugs in the moves of a channel, for the checker to find; each is put in by its name.

`lost update`: what the caller saw is compared in a transaction before the one that writes, and the
write itself no longer asks. `freeze ignored`: a freeze is written down and holds nobody back.
`unwritten rollback`: a rollback moves the pointer and appends no revision.
"""

from types import SimpleNamespace

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.channels import channels as queries
from deltareg.db.session import read
from deltareg.service.channels import move as moving
from deltareg.service.ledger import freeze
from deltareg.service.resolve import find_line
from tests.faults.mutant import patch


def lost_update():
    """Compare first, set later."""
    move, look = moving.move_channel, queries.channel_row
    before = SimpleNamespace(row=None)

    def move_later(registry, caller, line, name, asked, *, seen):
        with read(registry.engine) as conn:
            delta = find_line(conn, caller, line)
            before.row = look(conn, delta.id, name)
        return move(registry, caller, line, name, asked, seen=seen)

    def row_before(conn, delta_id, name, *, lock=False):
        return before.row if lock and before.row is not None else look(conn, delta_id, name)

    def advance(conn, channel_id, *, seen):
        own = t.channels.c.id == channel_id
        conn.execute(sa.update(t.channels).where(own).values(revision=t.channels.c.revision + 1))
        return True

    add = queries.add_revision

    def add_next(conn, **values):
        own = sa.select(t.channels.c.revision).where(t.channels.c.id == values["channel_id"])
        return add(conn, **values | {"number": conn.execute(own).scalar_one()})

    patch(moving, "move_channel", move_later)
    patch(queries, "channel_row", row_before)
    patch(queries, "advance", advance)
    patch(queries, "add_revision", add_next)


def freeze_ignored():
    patch(freeze, "is_freezing", lambda *_, **__: False)


def unwritten_rollback():
    add = queries.add_revision

    def add_others(conn, **values):
        if values["kind"] != "rollback":
            return add(conn, **values)
        own = t.revisions.c.channel_id == values["channel_id"]
        return conn.execute(sa.select(sa.func.max(t.revisions.c.id)).where(own)).scalar_one()

    patch(queries, "add_revision", add_others)


BUGS = {"lost update": lost_update, "freeze ignored": freeze_ignored, "unwritten rollback": unwritten_rollback}
