"""What a channel's own books must say after a history, whoever was killed in it."""

from dataclasses import replace

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read
from tests.faults.channel_clients import LINE
from tests.faults.channel_model import FRESH, MOVES, Call, step


class Books:
    """A channel as the database holds it: pointer, ledger, quarantines, audit trail."""

    def __init__(self, engine, stage):
        with read(engine) as conn:
            own = sa.select(t.channels).where(t.channels.c.name == stage.channel)
            self.channel = conn.execute(own).one()
            self.ledger = self._rows(conn, t.revisions)
            self.quarantines = self._rows(conn, t.quarantines)
            subject = f"{LINE}@{stage.channel}"
            trail = sa.select(t.audit).where(t.audit.c.subject == subject).order_by(t.audit.c.id)
            self.trail = conn.execute(trail).all()
            numbers = conn.execute(sa.select(t.versions.c.id, t.versions.c.number))
            self.number = {row.id: stage.version(row.number) for row in numbers} | {None: None}

        self.version = stage.version

    def _rows(self, conn, table):
        own = sa.select(table).where(table.c.channel_id == self.channel.id)
        return conn.execute(own.order_by(table.c.id)).all()


def problems(books, history, *, earlier=()):
    """List what does not add up.

    Args:
        books: The channel's, when all is quiet.
        history: The operations; the reason of each move is its tag.
        earlier: Ledgers that were read while the history was made.
    """
    return [
        *_chain(books),
        *_replay(books),
        *_claims(books, history),
        *(f"the ledger had {len(old)} rows that are others now" for old in earlier if books.ledger[: len(old)] != old),
    ]


def _chain(books):
    """Check that numbers have no gap, and that each row follows from the one before it."""
    served = None
    if books.channel.revision != len(books.ledger):
        yield f"the pointer is at #{books.channel.revision} of {len(books.ledger)} revisions"
    for expected, row in enumerate(books.ledger, start=1):
        if row.number != expected:
            yield f"#{row.number} stands where #{expected} belongs"
        if row.previous_version_id != served:
            yield f"#{row.number} says that it follows {row.previous_version_id}, not {served}"
        if row.kind in {"freeze", "unfreeze"} and row.version_id != served:
            yield f"#{row.number}, a {row.kind}, changed what is served"
        served = row.version_id
    rows = {row.id: row for row in books.ledger}
    for one in books.quarantines:
        row = rows.get(one.revision_id)
        if row is None or (row.kind, row.previous_version_id) != ("rollback", one.version_id):
            yield f"the quarantine of {one.version_id} is of no rollback from it"


def _replay(books):
    """Let the model do what the audit trail says, and compare where it comes to."""
    # Waivers and deletions are in other trails; the order of the answers is held against them.
    state = replace(FRESH, is_waived=True, is_answered=True, is_continued=True)
    ledger = iter(books.ledger)
    for entry in books.trail:
        kind = entry.action.removeprefix("channel.")
        if kind in MOVES:
            row = next(ledger, None)
            if row is None or (row.kind, row.reason) != (kind, entry.after["reason"]):
                yield f"the audit trail tells of a {kind} that the ledger does not have there"
                return
            call = Call(kind, row.number - 1, books.number[row.version_id])
        else:
            call = Call("clear", version=books.version(entry.before["quarantined"]))
        result, state = step(state, call)
        if result.code != "ok":
            yield f"{call} was done, and ought to have been refused: {result.code}"
            return
    if next(ledger, None) is not None:
        yield "the ledger has revisions that the audit trail does not tell of"
    standing = {books.number[q.version_id] for q in books.quarantines if q.cleared_at is None}
    if standing != state.quarantined:
        yield f"quarantined are {sorted(standing)}, by the trail {sorted(state.quarantined)}"


def _claims(books, history):
    """Hold the ledger's reasons against who was told what."""
    asked = {one.tag: one for one in history if one.call.kind in MOVES}
    rows = {row.reason: row for row in books.ledger}
    if len(rows) != len(books.ledger):
        yield "one move has several revisions"
    for tag, row in rows.items():
        one = asked.get(tag)
        if one is None:
            yield f"#{row.number} was asked for by nobody"
        elif one.is_known and (one.result.code, one.result.revision) != ("ok", row.number):
            yield f"#{row.number} was made by {tag}, which was told {one.result}"
    for tag, one in asked.items():
        if one.is_known and one.result.code == "ok" and tag not in rows:
            yield f"{tag} was told #{one.result.revision}, and the ledger does not have it"
