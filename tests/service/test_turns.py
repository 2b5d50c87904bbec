"""The order of the queue against a model of it: two levels of start-time fair queueing, by heart.

The model knows no table: each namespace has its turns and, for each who queued something in it, a
line of runs; a server of runs takes the namespace whose turn is lowest, and there who comes first.
"""

from collections import defaultdict

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from deltareg.db import tables as t
from deltareg.db.lines import deltas
from deltareg.db.runs import runs as queries
from deltareg.db.runs.queue import queue_rows
from deltareg.db.runs.turns import place_of
from deltareg.db.session import read, write
from tests.service import rows

NAMESPACES, PEOPLE, PRIORITIES = ("a", "b", "c"), ("ada", "bob", "eve"), (-10, 0)


class Model:
    """The queue of one priority, as a textbook has it."""

    def __init__(self):
        self.slots = defaultdict(list)  # by namespace: (turn, number of the run that brought it)
        self.lines = defaultdict(list)  # by namespace: (turn inside, number, who, run)
        self.served, self.served_inside = 0, defaultdict(int)
        self.held = {}  # by run: namespace, who, turn, turn inside
        self.number = 0

    def queue(self, run, namespace, who):
        self.number += 1
        own = [turn for turn, _ in self.slots[namespace]]
        own += [held[2] for held in self.held.values() if held[0] == namespace]
        inside = [turn for turn, _, by, _ in self.lines[namespace] if by == who]
        inside += [held[3] for held in self.held.values() if held[:2] == (namespace, who)]
        self.slots[namespace].append((1 + max([self.served, *own]), self.number))
        place = 1 + max([self.served_inside[namespace], *inside])
        self.lines[namespace].append((place, self.number, who, run))

    def order(self):
        """List all that waits, the next one first."""
        pairs = [
            (slot, line[3])
            for namespace, slots in self.slots.items()
            for slot, line in zip(sorted(slots), sorted(self.lines[namespace]), strict=True)
        ]
        return [run for _, run in sorted(pairs)]

    def serve(self):
        """Take the next run out: it takes the first turn of its namespace."""
        run = self.order()[0]
        namespace, line = next((n, each) for n, lines in self.lines.items() for each in lines if each[3] == run)
        turn, number = min(self.slots[namespace])
        self.slots[namespace].remove((turn, number))
        self.lines[namespace].remove(line)
        self.served = max(self.served, turn)
        self.served_inside[namespace] = max(self.served_inside[namespace], line[0])
        self.held[run] = (namespace, line[2], turn, line[0])
        return run


class Turns(RuleBasedStateMachine):
    """Pushes, claims and ends in any order, to the queue and to the model of it."""

    engine: sa.Engine
    versions: dict[str, int]
    people: dict[str, int]

    def __init__(self):
        super().__init__()
        self.models = {priority: Model() for priority in PRIORITIES}
        self.count = 0
        with write(self.engine) as conn:
            conn.execute(sa.delete(t.runs))

    @rule(namespace=st.sampled_from(NAMESPACES), who=st.sampled_from(PEOPLE), priority=st.sampled_from(PRIORITIES))
    def queue(self, namespace, who, priority):
        self.count += 1
        run = f"{self.count:03}"
        with write(self.engine) as conn:
            queries.enqueue(
                conn,
                run_id=run,
                what="verify",
                dedup_key=run,
                version_id=self.versions[namespace],
                request={},
                priority=priority,
                created_by=self.people[who],
            )
            # The clock may not have gone on, and the order of what is equal is not what is asked here.
            conn.execute(sa.update(t.runs).where(t.runs.c.id == run).values(created_at=self.count))
        self.models[priority].queue(run, namespace, who)

    @precondition(lambda self: any(model.order() for model in self.models.values()))
    @rule()
    def serve(self):
        model = next(m for _, m in sorted(self.models.items(), reverse=True) if m.order())
        (first, *_) = queries.claimable(self.engine, what=["verify"])
        with write(self.engine) as conn:
            claimed = queries.claim(conn, first.id, holder="w", lease_us=10**9)
        assert claimed is not None
        assert claimed.id == model.serve()

    @precondition(lambda self: any(model.held for model in self.models.values()))
    @rule(data=st.data())
    def end(self, data):
        run = data.draw(st.sampled_from(sorted(run for m in self.models.values() for run in m.held)))
        with write(self.engine) as conn:
            conn.execute(sa.update(t.runs).where(t.runs.c.id == run).values(state="done"))
        for model in self.models.values():
            model.held.pop(run, None)

    @invariant()
    def the_order_that_is_shown_and_the_order_of_claims_are_the_models(self):
        expected = [run for _, model in sorted(self.models.items(), reverse=True) for run in model.order()]
        assert [row.id for row in queries.claimable(self.engine, what=["verify"])] == expected
        with read(self.engine) as conn:
            shown = [row for row in queue_rows(conn, limit=1000) if row.place is not None]
            last = 1 + place_of(conn, shown[-1]) if shown else 0
        assert [row.id for row in shown] == expected
        assert [row.place for row in shown] == list(range(1, last + 1))


@pytest.fixture
def people(engine):
    rows.base(engine)
    return {name: rows.caller(engine, name).principal_id for name in PEOPLE}


@pytest.fixture
def versions(engine, people):
    found = {}
    for name in NAMESPACES:
        with write(engine) as conn:
            place = deltas.add_namespace(conn, name, created_by=people["ada"]).id
            deltas.add_delta(conn, place, "x", created_by=people["ada"])
            line = deltas.delta_row(conn, name, "x")
            assert line is not None
            found[name] = rows.add_version(conn, line.id)
    return found


@pytest.mark.parametrize("examples", [2, pytest.param(200, marks=pytest.mark.soak)])
def test_the_queue_is_the_models(engine, people, versions, examples):
    machine = type("OnThisDatabase", (Turns,), {"engine": engine, "versions": versions, "people": people})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
