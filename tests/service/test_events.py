"""Events: each row of the audit trail comes with one of the outbox, or neither is there."""

import threading

import pytest
import sqlalchemy as sa

from deltareg.api.upkeep import upkeep
from deltareg.db import tables as t
from deltareg.db.events import outbox as queries
from deltareg.db.session import write
from deltareg.db.sql.clock import US_PER_S
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.resources import EVERYTHING, Base, Namespace
from deltareg.service.channels.channels import create_channel
from deltareg.service.events import Action
from deltareg.service.lines.revocations import revoke_version
from deltareg.service.registry import Registry
from deltareg.service.runs.death import bury_exhausted
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.runs import cancel_run, queue_run
from deltareg.service.upkeep import old_events
from deltareg.service.upkeep.collect import run_collection
from deltareg.service.upkeep.old_events import KEEP_S, drop_old_events, drop_some_events
from deltareg.store.memory import MemoryStore
from deltareg.wire import Revoke, RunCreate
from tests.fixtures.processes import until
from tests.service import rows
from tests.service.work import claim, enqueue, expire, report

LINE = LineRef("lab", "x")
DAY_S = 86_400.0


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine)


@pytest.fixture
def version(registry, ada):
    return rows.version(registry.engine, rows.line(registry.engine, maker=ada))


def told(registry):
    """Give what a listener would hear: action, subject, namespace, line, in order."""
    query = (
        sa.select(t.audit.c.action, t.audit.c.subject, t.outbox.c.namespace, t.outbox.c.line)
        .join(t.audit, t.audit.c.id == t.outbox.c.audit_id)
        .order_by(t.outbox.c.id)
    )
    with registry.engine.connect() as conn:
        return [tuple(row) for row in conn.execute(query)]


def age(registry, *, days):
    with write(registry.engine) as conn:
        created_at = t.outbox.c.created_at - round(days * DAY_S * US_PER_S)
        conn.execute(sa.update(t.outbox).values(created_at=created_at))


def test_what_is_done_waits_to_be_told_with_the_line_that_it_is_about(registry, ada, version):
    create_channel(registry, ada, LINE, "canary")
    run = queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    complete_run(registry, ada, run.id, report(claim(registry, ada)))
    revoke_version(registry, ada, Ref(LINE, version=1), Revoke(reason="bad"))
    run_collection(registry, ada, grace_s=0)

    assert told(registry) == [
        ("channel.create", "lab/x@canary", "lab", "x"),
        ("run.queue", f"run/{run.id}", "lab", "x"),
        ("run.complete", f"run/{run.id}", "lab", "x"),
        ("version.revoke", "lab/x:v1", "lab", "x"),
        ("collect.run", "store", None, None),
    ]
    assert len(rows.rows(registry.engine, t.audit)) == len(told(registry))


def test_what_the_registry_does_by_itself_is_told_too(registry, ada, version):
    enqueue(registry, "r1")
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.runs).values(max_attempts=1))
    claim(registry, ada)
    expire(registry, "r1")

    bury_exhausted(registry)

    assert told(registry)[-1] == ("run.dead", "run/r1", "lab", "x")


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (EVERYTHING, (None, None)),
        (Namespace("lab"), ("lab", None)),
        (LINE, ("lab", "x")),
        (Base("tiny"), (None, None)),
        (Base("lab/x:v1"), ("lab", None)),
    ],
)
def test_an_event_says_where_it_was(registry, ada, on, expected):
    with write(registry.engine) as conn:
        ada.record(conn, Action.BASE_PUSH, "base/tiny", on=on, before=None, after=None)

    assert told(registry) == [("base.push", "base/tiny", *expected)]


def test_what_is_rolled_back_is_never_told(registry, ada, version):
    def fail():
        with write(registry.engine) as conn:
            ada.record(conn, Action.RUN_QUEUE, "run/r", on=LINE, before=None, after=None)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert told(registry) == []
    assert rows.rows(registry.engine, t.audit) == []


def test_an_event_without_its_row_of_the_audit_trail_is_refused(registry):
    with pytest.raises(sa.exc.IntegrityError), write(registry.engine) as conn:
        queries.add_event(conn, 999_999, namespace=None, line=None)


def test_old_events_go_and_the_audit_trail_stays(registry, ada, version, monkeypatch):
    monkeypatch.setattr(old_events, "_ROWS", 2)
    for name in ("a1", "a2", "a3", "a4", "a5"):
        create_channel(registry, ada, LINE, name)
    age(registry, days=KEEP_S / DAY_S - 0.01)
    assert drop_old_events(registry.engine) == 0
    age(registry, days=0.02)
    create_channel(registry, ada, LINE, "young")

    dropped = drop_old_events(registry.engine)

    assert dropped == 5
    assert [subject for _, subject, *_ in told(registry)] == ["lab/x@young"]
    assert len(rows.rows(registry.engine, t.audit)) == 6
    assert drop_some_events(registry.engine) == 0


def test_a_collection_and_a_serving_process_let_old_events_go(registry, ada, version):
    create_channel(registry, ada, LINE, "a1")
    age(registry, days=8)
    run_collection(registry, ada, grace_s=0)
    assert [action for action, *_ in told(registry)] == ["collect.run"]
    age(registry, days=8)

    with upkeep(registry, look_s=0.01):
        assert until(lambda: not told(registry), "no event is left")


@pytest.mark.postgres
def test_events_that_somebody_is_taking_are_left_to_them(postgresql_engine):
    registry = Registry(postgresql_engine, MemoryStore())
    ada = rows.caller(postgresql_engine)
    rows.line(postgresql_engine, maker=ada)
    create_channel(registry, ada, LINE, "a1")
    age(registry, days=8)
    taken, done = threading.Event(), threading.Event()

    def take():
        with write(postgresql_engine) as conn:
            conn.execute(sa.select(t.outbox).with_for_update())
            taken.set()
            done.wait(60)

    taker = threading.Thread(target=take)
    taker.start()
    taken.wait(60)
    dropped = drop_some_events(postgresql_engine)
    done.set()
    taker.join()

    assert dropped == 0
    assert drop_some_events(postgresql_engine) == 1


def test_cancelling_says_which_line_it_was(registry, ada, version):
    run = queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    cancel_run(registry, ada, run.id)

    assert told(registry)[-1] == ("run.cancel", f"run/{run.id}", "lab", "x")
