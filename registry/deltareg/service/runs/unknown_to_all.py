"""Waiting runs that no worker knows which runs now: for what they wait."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.runs import workers as queries
from deltareg.db.runs.rows import ShownRunRow
from deltareg.db.runs.worker_rows import BusyWorkerRow
from deltareg.service.labels import fits
from deltareg.service.runs.knowledge import KnowingWorker, is_forgotten, tell_lacking, words_of_run
from deltareg.wire.knowledge import digest_words, own_knowledge


def explain_unknown(conn: sa.Connection, rows: Sequence[ShownRunRow], live: Sequence[BusyWorkerRow]) -> dict[str, str]:
    """Return, for each waiting run that some worker's labels fit, what none of these knows.

    Runs that one of them could take are left out.
    """
    knowing: Mapping[str, KnowingWorker] = _knowing(conn, live) if rows else {}
    reasons: dict[str, str] = {}
    for row in rows:
        beyond = words_of_run(conn, row) - own_knowledge()
        lacking = [knowing[each.name].lacks(conn, row) for each in live if fits(row.labels, each.labels)]
        if beyond and not is_forgotten(conn, row):
            reasons[row.id] = f"it waits for a server of a later release: this one does not know {tell_lacking(beyond)}"
        elif lacking and all(lacking):
            reasons[row.id] = f"no worker that runs now knows {tell_lacking(min(lacking, key=len))}"
    return reasons


def _knowing(conn: sa.Connection, live: Sequence[BusyWorkerRow]) -> Mapping[str, KnowingWorker]:
    """Return what each worker knows; what they say is read only where it is not what this release knows."""
    own = digest_words(own_knowledge())
    others = {row.name for row in live if row.knows_digest not in {None, own}}
    said = {row.name: row.knows for row in queries.knowledge_rows(conn, others)} if others else {}

    def words(row: BusyWorkerRow) -> frozenset[str] | None:
        if row.knows_digest is None:
            return None
        return own_knowledge() if row.knows_digest == own else frozenset(said.get(row.name) or ())

    return {row.name: KnowingWorker(words(row), frozenset(row.unknown or ())) for row in live}
