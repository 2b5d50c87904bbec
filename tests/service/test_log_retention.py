"""Retention of logs: dropped some time after the end of a run, never before, and it is told."""

import threading

import pytest
import sqlalchemy as sa

from deltareg.api.upkeep import upkeep
from deltareg.db import tables as t
from deltareg.db.session import create_engine, write
from deltareg.db.sql.clock import US_PER_S
from deltareg.service.operations.operation import KeepingTimes
from deltareg.service.registry import Registry
from deltareg.service.runs import log_retention
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.log import append_log, read_log
from deltareg.service.runs.log_retention import drop_old_logs, drop_some_logs
from deltareg.service.runs.runs import cancel_run, queue_run
from deltareg.service.upkeep.collect import run_collection
from deltareg.service.upkeep.plan import plan, plan_collection
from deltareg.store.memory import MemoryStore
from deltareg.wire import LineSent, LogAppend, RunCreate
from tests.fixtures.processes import until
from tests.service import rows
from tests.service.work import claim, enqueue, report

DAY_S = 86_400.0
KEEP_S = 30 * DAY_S


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine, scopes={"read", "push", "admin"})


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"verify"})


@pytest.fixture
def version(registry, ada):
    return rows.version(registry.engine, rows.line(registry.engine, maker=ada))


def talk(registry, worker, *texts):
    """Take the next run and say something about it."""
    grant = claim(registry, worker)
    lines = [LineSent(text=text) for text in texts]
    append_log(registry, worker, grant.run, LogAppend(fence=grant.fence, first=0, lines=lines))
    return grant


def judged(registry, ada, worker):
    """A run with a log and a verdict."""
    queue_run(registry, ada, RunCreate(ref="lab/x:v1", again=True))
    grant = talk(registry, worker, "a", "b")
    complete_run(registry, worker, grant.run, report(grant))
    return grant.run


def age(registry, *run_ids, days):
    """Let runs and their lines be so much older."""
    with write(registry.engine) as conn:
        by = round(days * DAY_S * US_PER_S)
        runs, lines = t.runs.c, t.run_log.c
        conn.execute(sa.update(t.runs).where(runs.id.in_(run_ids)).values(finished_at=runs.finished_at - by))
        conn.execute(sa.update(t.run_log).where(lines.run_id.in_(run_ids)).values(created_at=lines.created_at - by))


def many(registry, ada, worker, number):
    """So many runs that were cancelled long ago, with logs."""
    ids = [f"run-{n}" for n in range(number)]
    for run_id in ids:
        enqueue(registry, run_id)
        cancel_run(registry, ada, talk(registry, worker, "a").run)
    age(registry, *ids, days=31)
    return ids


def planned(registry, *, keep_s):
    """Say how many logs a collection would drop."""
    return plan(registry.engine, registry.store, grace_s=0, keep_logs_s=keep_s).run_logs


def texts(registry, caller, run_id):
    return [line.text for line in read_log(registry, caller, run_id, after=0).items]


def test_an_old_log_is_dropped_and_the_verdict_stays(registry, ada, worker, version):
    run_id = judged(registry, ada, worker)
    before = read_log(registry, ada, run_id, after=0)
    age(registry, run_id, days=30.1)

    assert drop_old_logs(registry.engine, keep_s=KEEP_S) == 1

    after = read_log(registry, ada, run_id, after=0)
    assert (before.dropped_at, [line.text for line in before.items]) == (None, ["a", "b"])
    assert after.dropped_at is not None
    assert (after.items, after.run.verdict) == ([], before.run.verdict)
    assert drop_old_logs(registry.engine, keep_s=KEEP_S) == 0


def test_a_younger_log_stays(registry, ada, worker, version):
    run_id = judged(registry, ada, worker)
    age(registry, run_id, days=29.9)

    assert drop_old_logs(registry.engine, keep_s=KEEP_S) == 0
    assert texts(registry, ada, run_id) == ["a", "b"]


def test_a_run_that_goes_on_keeps_its_log_however_old_its_lines_are(registry, ada, worker, version):
    queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    grant = talk(registry, worker, "a")
    age(registry, grant.run, days=90)

    assert planned(registry, keep_s=KEEP_S) == 0
    assert drop_old_logs(registry.engine, keep_s=KEEP_S) == 0
    assert texts(registry, ada, grant.run) == ["a"]


def test_a_run_that_ended_without_a_word_has_an_empty_log(registry, ada, version):
    run = queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    cancel_run(registry, ada, run.id)
    age(registry, run.id, days=90)
    drop_old_logs(registry.engine, keep_s=KEEP_S)

    assert read_log(registry, ada, run.id, after=0).dropped_at is None


def test_without_an_age_all_stay(registry, ada, worker, version):
    run_id = judged(registry, ada, worker)
    age(registry, run_id, days=9_000)

    assert drop_old_logs(registry.engine, keep_s=None) == 0
    assert planned(registry, keep_s=None) == 0
    assert texts(registry, ada, run_id) == ["a", "b"]


def test_it_goes_in_batches(registry, ada, worker, version, monkeypatch):
    monkeypatch.setattr(log_retention, "_RUNS", 2)
    many(registry, ada, worker, 5)

    dropped = [drop_some_logs(registry.engine, keep_s=KEEP_S) for _ in range(4)]

    assert dropped == [2, 2, 1, 0]


def test_who_waits_for_it_waits_for_so_many_batches_only(registry, ada, worker, version, monkeypatch):
    monkeypatch.setattr(log_retention, "_RUNS", 1)
    many(registry, ada, worker, 3)

    assert drop_old_logs(registry.engine, keep_s=KEEP_S, batches=2) == 2
    assert drop_old_logs(registry.engine, keep_s=KEEP_S, batches=2) == 1


def test_two_at_once_drop_each_log_once(registry, ada, worker, version, monkeypatch):
    monkeypatch.setattr(log_retention, "_RUNS", 1)
    ids = many(registry, ada, worker, 8)
    barrier, dropped = threading.Barrier(2), []

    def work():
        barrier.wait()
        dropped.append(drop_old_logs(registry.engine, keep_s=KEEP_S))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    rest = drop_old_logs(registry.engine, keep_s=KEEP_S)  # where both stopped at the same run
    assert sum(dropped) + rest == len(ids)
    assert {row.run_id for row in rows.rows(registry.engine, t.dropped_logs)} == set(ids)
    assert rows.rows(registry.engine, t.run_log) == []


def test_a_collection_tells_of_logs_and_drops_them(registry, ada, worker, version):
    run_id = judged(registry, ada, worker)
    age(registry, run_id, days=31)

    told = plan_collection(registry, ada, grace_s=0, keep_logs_s=KEEP_S)
    kept = run_collection(registry, ada, grace_s=0, keep_logs_s=None)
    dropped = run_collection(registry, ada, grace_s=0, keep_logs_s=KEEP_S)

    assert (told.run_logs, kept.run_logs, dropped.run_logs) == (1, 0, 1)
    assert rows.rows(registry.engine, t.run_log) == []


def test_a_serving_process_does_it_by_itself(registry, ada, worker, version):
    age(registry, judged(registry, ada, worker), days=31)

    with upkeep(registry, KeepingTimes(logs_s=KEEP_S), look_s=0.01):
        assert until(lambda: not rows.rows(registry.engine, t.run_log), "no log is left")
        age(registry, judged(registry, ada, worker), days=31)
        with write(registry.engine) as conn:  # as if an hour had passed
            conn.execute(sa.update(t.operations).values(asked_at=1))
        assert until(lambda: not rows.rows(registry.engine, t.run_log), "no log is left")


def test_a_database_that_does_not_answer_stops_nothing(tmp_path, caplog):
    nowhere = create_engine(f"sqlite:///{tmp_path / 'nowhere' / 'registry.db'}")

    with upkeep(Registry(nowhere, MemoryStore()), look_s=0.01):
        assert until(lambda: caplog.text.count("nothing is kept in order now") > 1, "it warns")
