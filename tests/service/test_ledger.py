"""Ledgers however long: the same answers as of a short one, and by an index."""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from deltareg.db.channels.rows import LedgerRow
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.verdicts.verdicts import verdict_rows
from deltareg.service.channels.reviews import moves_to_review
from deltareg.service.channels.roll_back import distance_within, stack_ledger

_MOVES = st.lists(st.tuples(st.sampled_from(["promote", "rollback", "freeze"]), st.integers(1, 5)))


def ledger_of(moves):
    """Write moves down as a ledger, newest first; a rollback goes to what was served before."""
    found = [LedgerRow(1, "promote", 1, 1, 0, "")]
    for kind, version in moves:
        served = {row.version_id for row in found}
        if kind == "rollback" and version not in served:
            continue
        serves = found[-1].version_id if kind == "freeze" else version
        number = len(found) + 1
        found.append(LedgerRow(number, kind, serves, serves, number * US_PER_S, ""))
    return found[::-1]


def plainly(ledger):
    """Lay a ledger on a stack as it is described, looking through all of it each time."""
    stack: list[LedgerRow] = []
    for row in ledger[::-1]:
        at = [n for n, below in enumerate(stack) if below.version_id == row.version_id]
        if row.kind == "rollback" and at:
            del stack[at[-1] + 1 :]
        elif row.kind != "freeze":
            stack.append(row)
    return stack


@given(_MOVES)
def test_a_ledger_is_laid_on_a_stack_as_it_is_described(moves):
    ledger = ledger_of(moves)

    assert stack_ledger(ledger)[0] == plainly(ledger)


@given(_MOVES, st.integers(1, 12))
def test_the_newest_entries_tell_the_top_of_the_stack_where_they_are_closed(moves, depth):
    ledger = ledger_of(moves)

    near, is_closed = stack_ledger(ledger[:depth])

    assert not is_closed or plainly(ledger)[-len(near) :] == near or not near


@given(_MOVES, st.integers(1, 12))
def test_the_newest_entries_tell_how_far_back_each_of_them_is(moves, depth):
    ledger = ledger_of(moves)
    near, now_s = ledger[:depth], len(ledger) + 10

    for target in near:
        latest = next(row.number for row in ledger if row.version_id == target.version_id)
        left_at = next((row.number for row in ledger[::-1] if row.number > latest and row.kind != "freeze"), now_s)
        moves_since = sum(row.number > target.number and row.kind != "freeze" for row in ledger)

        assert distance_within(near, target, now_us=now_s * US_PER_S) == (moves_since, now_s - left_at)


QUERIES: dict[str, dict[str, Any]] = {
    "of all": {},
    "of a suite": {"suite": "smoke"},
    "of a version": {"version_id": 1},
    "of all, further on": {"before": (10**15, "x")},
}


@pytest.mark.parametrize("name", QUERIES)
def test_verdicts_are_listed_by_an_index(engine, name):
    plan = planned(engine, lambda conn: verdict_rows(conn, **QUERIES[name]), "FROM verdicts JOIN")

    assert "ix_verdicts" in plan
    assert "TEMP B-TREE FOR ORDER BY" not in plan


def test_what_is_to_be_reviewed_is_found_by_an_index(engine):
    plan = planned(engine, lambda conn: moves_to_review(conn, [1]), "FROM revisions")

    assert "ix_revisions_broken" in plan


def planned(engine, ask, part):
    """Say how the database would answer a question if reading a whole table cost more."""
    found: list[str] = []
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "

    def look(conn, cursor, statement, parameters, _context, _many):
        if part in statement and not statement.startswith("EXPLAIN"):
            cursor = conn.connection.cursor()
            cursor.execute(explain + statement, parameters)
            found.extend(str(row) for row in cursor.fetchall())

    with engine.connect() as conn, conn.begin():
        if engine.dialect.name == "postgresql":
            for way in ("seqscan", "sort", "bitmapscan"):
                conn.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        sa.event.listen(conn, "before_cursor_execute", look)
        ask(conn)
    return "\n".join(found)
