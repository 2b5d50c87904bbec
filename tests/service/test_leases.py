"""Leases: each run once, the frozen fenced, the dead replaced, and three deaths are no pass."""

import threading
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.runs.queue import labels_waiting
from deltareg.db.session import write
from deltareg.errors import Forbidden, InvalidInput, LeaseLost
from deltareg.service.labels import fits
from deltareg.service.registry import Registry
from deltareg.service.runs import leases
from deltareg.service.runs.death import bury_exhausted
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import fail_run, hold_lease
from deltareg.service.runs.runs import cancel_run, queue_run, show_run
from deltareg.service.verdicts.verdicts import show_verdict
from deltareg.store.memory import MemoryStore
from deltareg.wire import LeaseHold, RunCreate, RunFailure
from tests.benchmarks.statement_counts import StatementCounter
from tests.service import rows
from tests.service.work import SMOKE, audited, claim, enqueue, expire, reader, report
from tests.signers import enrol


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine, scopes={"read", "push"})


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"verify"})


@pytest.fixture
def ref(registry, ada):
    rows.version(registry.engine, rows.line(registry.engine, maker=ada))
    return "lab/x:v1"


@pytest.fixture
def queued(registry, ada, ref):
    return queue_run(registry, ada, RunCreate(ref=ref)).id


def test_a_worker_gets_what_it_needs_to_verify(registry, worker, queued, ref):
    grant = claim(registry, worker)

    assert grant.run == queued
    assert (grant.ref, grant.suite, grant.suite_digest) == (ref, "smoke", str(SMOKE.digest))
    assert (grant.fence, grant.attempt, grant.lease_s) == (1, 1, 60)
    assert grant.base.root == rows.BASE_ROOT
    assert show_run(registry, reader(worker), queued).worker == "w1"


def test_a_run_is_given_to_one_worker(registry, worker, queued):
    first, second = claim(registry, worker), claim(registry, worker, name="w2")

    assert first is not None
    assert second is None


def test_there_is_nothing_to_claim_in_an_empty_queue(registry, worker):
    assert claim(registry, worker) is None


def test_asking_for_work_in_vain_writes_nothing(registry, worker):
    claim(registry, worker)
    seen = rows.rows(registry.engine, t.workers)

    with writing_transactions(registry.engine) as written:
        for _ in range(3):
            claim(registry, worker)

    assert written == [False] * len(written) != []
    assert rows.rows(registry.engine, t.workers) == seen


def test_a_claim_that_finds_work_is_seen_to_write(registry, worker, queued):
    with writing_transactions(registry.engine) as written:
        claim(registry, worker)

    assert True in written


def test_the_highest_priority_and_then_the_oldest_comes_first(registry, worker, ref):
    for name, priority in (("a", 0), ("b", 5), ("c", 5), ("d", 9)):
        enqueue(registry, name, priority=priority)

    order = [claim(registry, worker).run for _ in range(4)]

    assert order == ["d", "b", "c", "a"]


def test_a_worker_is_given_what_its_labels_fit(registry, worker, ref):
    for number in range(120):  # more than a page of runs that it cannot do
        enqueue(registry, f"gpu-{number}", labels={"gpu": "h100"}, priority=1)
    enqueue(registry, "cpu", labels={})

    grant = claim(registry, worker, labels={"gpu": "none"})
    nothing = claim(registry, worker, labels={"gpu": "none"})

    assert grant.run == "cpu"
    assert nothing is None
    assert claim(registry, worker, labels={"gpu": "a100, h100"}).run == "gpu-0"


def test_a_long_queue_that_does_not_fit_is_not_read_by_each_who_asks(registry, worker, ref):
    for number in range(60):
        enqueue(registry, f"gpu-{number}", labels={"gpu": "h100"})
    claim(registry, worker, labels={"gpu": "none"})  # the first time it is also noted who asks
    counter = StatementCounter(registry.engine)
    with counter.counting() as few:
        assert claim(registry, worker, labels={"gpu": "none"}) is None
    with write(registry.engine) as conn:
        one = dict(conn.execute(sa.select(t.runs).where(t.runs.c.id == "gpu-59")).mappings().one())
        more = [one | {"id": f"more-{n}", "dedup_key": f"more-{n}", "turn": one["turn"] + 1 + n} for n in range(600)]
        conn.execute(sa.insert(t.runs), more)
    with counter.counting() as many:
        assert claim(registry, worker, labels={"gpu": "none"}) is None

    assert len(many.statements) == len(few.statements)


def test_a_run_that_comes_while_a_long_queue_is_left_out_fits_or_is_not_given(registry, worker, ref, monkeypatch):
    for number in range(60):
        enqueue(registry, f"gpu-{number}", labels={"gpu": "h100"})

    def read_late(conn):
        labels = labels_waiting(conn)
        enqueue(registry, "late", labels={"gpu": "b200"}, priority=9)
        return labels

    monkeypatch.setattr(leases, "labels_waiting", read_late)

    assert claim(registry, worker, labels={"gpu": "none"}) is None


@pytest.mark.parametrize(
    ("required", "offered", "fit"),
    [
        ({}, {}, True),
        ({"gpu": "h100"}, {}, False),
        ({"gpu": "h100"}, {"gpu": "a100,h100", "zone": "b"}, True),
        ({"memory_gib": ">=40"}, {"memory_gib": "80"}, True),
        ({"memory_gib": ">=40"}, {"memory_gib": "24"}, False),
        ({"memory_gib": ">=40"}, {"memory_gib": "plenty"}, False),
        ({"memory_gib": ">=40"}, {}, False),
    ],
)
def test_labels_fit(required, offered, fit):
    assert fits(required, offered) is fit


def test_a_name_of_another_principal_is_refused(registry, worker, engine):
    claim(registry, worker)
    other = rows.caller(engine, "gpu-2", kind="worker", scopes={"verify"})

    with pytest.raises(Forbidden, match="another principal"):
        claim(registry, other)


def test_work_is_for_tokens_that_may_verify(registry, ada):
    with pytest.raises(Forbidden):
        claim(registry, ada)


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=pytest.mark.soak)])
def test_eight_threads_claim_many_runs_each_once(registry, worker, ref, count):
    for number in range(count):
        enqueue(registry, f"run-{number:03}")
    rows.measure_base(registry.engine, enrol(registry.engine, worker.principal_id, worker.principal))
    taken: list[str] = []
    errors = []

    def work(number):
        try:
            while (grant := claim(registry, worker, name=f"w{number}")) is not None:
                taken.append(grant.run)
        except Exception as error:  # noqa: BLE001  (told to the test, whatever it is)
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert sorted(taken) == [f"run-{number:03}" for number in range(count)]
    assert {row.fence for row in rows.rows(registry.engine, t.runs)} == {1}


def test_a_verdict_ends_the_run_in_one_transaction(registry, ada, worker, queued, ref):
    grant = claim(registry, worker)

    verdict = complete_run(registry, worker, grant.run, report(grant))

    run = show_run(registry, ada, queued)
    assert (run.state, run.verdict) == ("done", verdict)
    assert (verdict.ref, verdict.verdict, verdict.counts) == (ref, "pass", True)
    assert (verdict.base_root, verdict.suite_digest) == (rows.BASE_ROOT, str(SMOKE.digest))
    assert verdict.created_by == "gpu-1"
    assert show_verdict(registry, ada, verdict.id) == verdict
    assert audited(registry)[-1] == ("gpu-1", "run.complete", f"run/{queued}")


def test_the_same_report_again_gives_the_same_verdict(registry, worker, queued):
    grant = claim(registry, worker)

    first = complete_run(registry, worker, grant.run, report(grant))
    second = complete_run(registry, worker, grant.run, report(grant))

    assert second == first
    assert len(rows.rows(registry.engine, t.verdicts)) == 1


def test_a_heartbeat_keeps_the_lease(registry, worker, queued):
    grant = claim(registry, worker)
    expire(registry, queued)

    hold_lease(registry, worker, LeaseHold(run=queued, fence=grant.fence), lease_s=60)

    assert claim(registry, worker, name="w2") is None


def test_a_run_whose_lease_ran_out_goes_to_the_next_worker(registry, worker, queued):
    claim(registry, worker)
    expire(registry, queued)

    grant = claim(registry, worker, name="w2")

    assert (grant.run, grant.fence, grant.attempt) == (queued, 2, 2)


def test_a_worker_that_was_frozen_past_its_lease_is_fenced(registry, worker, queued):
    frozen = claim(registry, worker)
    expire(registry, queued)
    current = claim(registry, worker, name="w2")

    with pytest.raises(LeaseLost, match="at fence 2"):
        hold_lease(registry, worker, LeaseHold(run=queued, fence=frozen.fence), lease_s=60)
    with pytest.raises(LeaseLost):
        complete_run(registry, worker, queued, report(frozen, verdict="fail"))
    with pytest.raises(LeaseLost):
        fail_run(registry, worker, queued, RunFailure(fence=frozen.fence, error="late"))
    verdict = complete_run(registry, worker, queued, report(current))

    assert verdict.verdict == "pass"
    assert len(rows.rows(registry.engine, t.verdicts)) == 1


def test_a_late_worker_that_nobody_replaced_may_finish(registry, worker, queued):
    grant = claim(registry, worker)
    expire(registry, queued)

    verdict = complete_run(registry, worker, queued, report(grant))

    assert verdict.verdict == "pass"


def test_the_fence_of_another_principals_lease_is_of_no_use(registry, engine, worker, queued):
    grant = claim(registry, worker)
    thief = rows.caller(engine, "gpu-2", kind="worker", scopes={"verify"})
    claim(registry, thief, name="w-thief")

    with pytest.raises(LeaseLost):
        complete_run(registry, thief, queued, report(grant))
    with pytest.raises(LeaseLost):
        hold_lease(registry, thief, LeaseHold(run=queued, fence=grant.fence), lease_s=60)

    complete_run(registry, worker, queued, report(grant))
    with pytest.raises(LeaseLost):
        complete_run(registry, thief, queued, report(grant))


def test_a_failed_run_is_tried_again(registry, ada, worker, queued):
    grant = claim(registry, worker)

    fail_run(registry, worker, queued, RunFailure(fence=grant.fence, error="CUDA is out of memory"))

    run = show_run(registry, ada, queued)
    assert (run.state, run.worker, run.error) == ("queued", None, "CUDA is out of memory")
    assert claim(registry, worker).attempt == 2


def test_three_failures_are_inconclusive_and_never_a_pass(registry, ada, worker, queued):
    for _ in range(3):
        fence = claim(registry, worker).fence
        fail_run(registry, worker, queued, RunFailure(fence=fence, error="no GPU"))

    run = show_run(registry, ada, queued)
    assert run.state == "dead"
    assert run.verdict is not None
    assert run.verdict.verdict == "inconclusive"
    (check,) = run.verdict.checks
    assert (check.name, check.detail) == ("infrastructure", "no GPU")
    assert claim(registry, worker) is None


def test_three_lost_workers_are_inconclusive_and_never_a_pass(registry, ada, worker, queued):
    for number in range(3):
        claim(registry, worker, name=f"w{number}")
        expire(registry, queued)

    nothing = claim(registry, worker, name="w9")

    run = show_run(registry, ada, queued)
    assert nothing is None
    assert (run.state, run.attempt) == ("dead", 3)
    assert run.verdict is not None
    assert run.verdict.verdict == "inconclusive"
    assert run.verdict.checks[0].name == "infrastructure"
    assert audited(registry)[-1] == ("registry", "run.dead", f"run/{queued}")
    with pytest.raises(LeaseLost):
        hold_lease(registry, worker, LeaseHold(run=queued, fence=3), lease_s=60)


def test_a_run_is_buried_once_by_many(registry, worker, queued):
    for number in range(3):
        claim(registry, worker, name=f"w{number}")
        expire(registry, queued)
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(bury_exhausted(registry))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(counts) == [0, 0, 0, 1]
    assert len(rows.rows(registry.engine, t.verdicts)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checks": []}, "digests did not run"),
        ({"skip": "effect"}, "effect did not run"),
        ({"fail": "general_perplexity"}, "general_perplexity failed"),
        ({"suite_digest": f"sha256:{'0' * 64}"}, "the worker has"),
    ],
)
def test_a_pass_that_was_not_earned_is_refused(registry, ada, worker, queued, change, message):
    grant = claim(registry, worker)

    with pytest.raises(InvalidInput, match=message):
        complete_run(registry, worker, queued, report(grant, **change))

    assert show_run(registry, ada, queued).state == "running", "the worker may report again"
    assert rows.rows(registry.engine, t.verdicts) == []


def test_a_cancelled_run_is_taken_from_its_worker(registry, ada, worker, queued):
    grant = claim(registry, worker)

    cancelled = cancel_run(registry, ada, queued)

    assert cancelled.state == "cancelled"
    with pytest.raises(LeaseLost, match="cancelled"):
        hold_lease(registry, worker, LeaseHold(run=queued, fence=grant.fence), lease_s=60)
    with pytest.raises(LeaseLost):
        complete_run(registry, worker, queued, report(grant))
    assert claim(registry, worker) is None


@contextmanager
def writing_transactions(engine):
    """Note of every transaction that ends whether it changed the database."""
    written = []

    def note(conn):
        if conn.dialect.name == "sqlite":
            written.append(conn.connection.dbapi_connection.total_changes != before[0])
        else:  # a transaction gets a number when it writes or locks its first row
            number = conn.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()").scalar()
            written.append(number is not None)

    def begin(conn):
        if conn.dialect.name == "sqlite":
            before[0] = conn.connection.dbapi_connection.total_changes

    before = [0]
    sa.event.listen(engine, "begin", begin)
    sa.event.listen(engine, "commit", note)
    try:
        yield written
    finally:
        sa.event.remove(engine, "commit", note)
        sa.event.remove(engine, "begin", begin)
