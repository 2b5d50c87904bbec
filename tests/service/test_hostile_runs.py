"""Runs that hold a worker for long: they end once, are remembered, and leave a worker to others."""

import random
import threading
from contextlib import suppress

import pytest

from deltareg.db.lines import deltas
from deltareg.db.session import write
from deltareg.errors import Conflict, LeaseLost
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import fail_run
from deltareg.service.runs.queue import list_queue
from deltareg.service.runs.runs import cancel_run, queue_run, show_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import RunCreate, RunFailure
from tests.service import rows, work
from tests.service.work import expire, report
from tests.signers import enrol

CPU = {"device": "cpu"}


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine, scopes={"read", "push", "promote"})


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"read", "verify"})


def lines(engine, namespace, count, *, maker):
    """Insert a line with so many versions of the one base; gives their references."""
    with write(engine) as conn:
        place = deltas.add_namespace(conn, namespace, created_by=maker.principal_id).id
        deltas.add_delta(conn, place, "x", created_by=maker.principal_id)
        line = deltas.delta_row(conn, namespace, "x")
        assert line is not None
        for _ in range(count):
            rows.add_version(conn, line.id)
    return [f"{namespace}/x:v{number}" for number in range(1, count + 1)]


def queue(registry, caller, *refs, **options):
    return [queue_run(registry, caller, RunCreate(ref=ref, **options)).id for ref in refs]


def claim(registry, worker, *, name="w1", device="cpu"):
    return work.claim(registry, worker, name=name, labels={"device": device})


def fail(registry, worker, grant, **why):
    fail_run(registry, worker, grant.run, RunFailure(fence=grant.fence, error="it hangs", **why))


def measure(registry, worker):
    """Let a worker have measured the base."""
    rows.measure_base(registry.engine, enrol(registry.engine, worker.principal_id, worker.principal))


def test_a_run_that_ran_out_of_time_is_not_tried_again_by_itself(registry, ada, worker):
    hangs, waits = queue(registry, ada, *lines(registry.engine, "a", 2, maker=ada))
    fail(registry, worker, claim(registry, worker), is_out_of_time=True)

    ended = show_run(registry, ada, hangs)

    assert (ended.state, ended.attempt, ended.error) == ("dead", 1, "it hangs")
    assert ended.verdict is not None
    assert (ended.verdict.verdict, ended.verdict.checks[0].code) == ("inconclusive", "out_of_time")
    assert claim(registry, worker).run == waits


def test_who_asks_for_it_again_waits_behind_all_other_work(registry, ada, worker):
    first, second, third = lines(registry.engine, "a", 3, maker=ada)
    queue(registry, ada, first)
    fail(registry, worker, claim(registry, worker), is_out_of_time=True)

    (again,) = queue(registry, ada, first, again=True)
    others = queue(registry, ada, second, third)

    assert [run.id for run in list_queue(registry, ada, ref=None, cursor=None, limit=9).items] == [*others, again]
    assert show_run(registry, ada, again).priority == "background"


def test_an_attempt_that_failed_stands_where_a_new_run_would(registry, ada, worker):
    fails, waits = queue(registry, ada, *lines(registry.engine, "a", 2, maker=ada))
    (other,) = queue(registry, ada, *lines(registry.engine, "b", 1, maker=ada))
    fail(registry, worker, claim(registry, worker))

    assert [run.id for run in list_queue(registry, ada, ref=None, cursor=None, limit=9).items] == [other, waits, fails]


def test_a_base_that_cannot_be_measured_costs_that_once(registry, ada, worker):
    first, second = lines(registry.engine, "a", 2, maker=ada)
    runs = queue(registry, ada, first, second)
    fail(registry, worker, claim(registry, worker), is_out_of_time=True, measured_s=900)

    nothing = claim(registry, worker)

    assert nothing is None
    for run in (show_run(registry, ada, run_id) for run_id in runs):
        assert run.state == "dead"
        assert run.verdict is not None
        told = run.verdict.checks[0]
        assert (told.code, told.detail) == ("base_unmeasured", "the base tiny could not be measured on cpu: it hangs")


def test_it_is_measured_again_for_who_asks_again_and_on_another_device(registry, ada, worker):
    first, second = lines(registry.engine, "a", 2, maker=ada)
    queue(registry, ada, first)
    fail(registry, worker, claim(registry, worker), measured_s=900)

    (again,) = queue(registry, ada, first, again=True)
    asked = claim(registry, worker)
    (elsewhere,) = queue(registry, ada, second)

    assert asked.run == again
    assert claim(registry, worker, name="w2", device="cuda").run == elsewhere


def test_a_worker_that_has_measured_the_base_takes_what_others_leave_to_it(registry, ada, worker):
    slow = rows.caller(registry.engine, "gpu-2", kind="worker", scopes={"verify"})
    first, second = lines(registry.engine, "a", 2, maker=ada)
    queue(registry, ada, first)
    fail(registry, slow, claim(registry, slow, name="slow"), measured_s=900)
    (waits,) = queue(registry, ada, second)
    measure(registry, worker)

    assert claim(registry, slow, name="slow") is None
    assert show_run(registry, ada, waits).state == "queued"
    assert claim(registry, worker).run == waits


def test_one_namespace_does_not_take_the_last_worker_for_what_nobody_has_measured(registry, ada, worker):
    queue(registry, ada, *lines(registry.engine, "hostile", 3, maker=ada))
    claim(registry, worker, name="w1")

    kept = claim(registry, worker, name="w2")
    queue(registry, ada, *lines(registry.engine, "honest", 1, maker=ada))

    assert kept is None
    assert claim(registry, worker, name="w2").ref == "honest/x:v1"


def test_what_is_known_to_end_goes_on_on_all_workers_until_something_ran_out_of_time(registry, ada, worker):
    first, second, third, fourth = lines(registry.engine, "a", 4, maker=ada)
    queue(registry, ada, first, second)
    one = claim(registry, worker, name="w1")
    assert claim(registry, worker, name="w2") is None
    measure(registry, worker)

    two = claim(registry, worker, name="w2")
    assert two.ref == second
    fail(registry, worker, one, is_out_of_time=True)
    complete_run(registry, worker, two.run, report(two))
    queue(registry, ada, third, fourth)
    three = claim(registry, worker, name="w1")

    assert three.ref == third
    assert claim(registry, worker, name="w2") is None


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 30))])
def test_nothing_is_stuck_whatever_workers_and_pushers_do_at_once(registry, ada, worker, seed):
    """Three workers complete, fail, run out of time or are gone with their lease, and somebody cancels."""
    ids = queue(registry, ada, *lines(registry.engine, "a", 4, maker=ada), *lines(registry.engine, "b", 4, maker=ada))
    serve_all(registry, worker, random.Random(seed), queue(registry, ada, "a/x:v1", again=True))
    threads = [
        threading.Thread(
            target=serve_all, args=(registry, worker, random.Random(f"{seed}/{number}"), ids, f"w{number}")
        )
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for run_id in random.Random(seed).sample(ids, 3):
        with suppress(Conflict):  # it has ended
            cancel_run(registry, ada, run_id)
    for thread in threads:
        thread.join()

    ended = [show_run(registry, ada, run_id) for run_id in ids]

    assert {run.state for run in ended} <= {"done", "dead", "cancelled"}
    assert [run.id for run in ended if (run.state == "cancelled") == (run.verdict is not None)] == []
    assert list_queue(registry, ada, ref=None, cursor=None, limit=50).items == []


def serve_all(registry, worker, rng, ids, name="w0"):
    """Take runs until all have ended, and end each in one of the ways that workers have."""
    while any(not show_run(registry, worker, run_id).is_over for run_id in ids):
        grant = claim(registry, worker, name=name)
        if grant is None:
            continue
        how = rng.choice(["completes", "completes", "fails", "hangs", "is killed"])
        with suppress(LeaseLost):
            if how == "completes":
                complete_run(registry, worker, grant.run, report(grant))
            elif how == "is killed":
                expire(registry, grant.run)
            else:
                fail(registry, worker, grant, is_out_of_time=how == "hangs")
