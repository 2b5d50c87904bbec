"""Whose turn it is: priorities, shares of namespaces, places in the queue, who could do it."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import deltas
from deltareg.db.session import write
from deltareg.errors import Forbidden
from deltareg.refs import Ref
from deltareg.service.registry import Registry
from deltareg.service.resolve import find_version
from deltareg.service.runs.kinds.verify import complete_run, queue_default_suite, verify_where_base_was_missed
from deltareg.service.runs.leases import fail_run
from deltareg.service.runs.queue import list_queue, list_workers, queue_depth, workforce
from deltareg.service.runs.runs import cancel_run, queue_run, show_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import RunCreate, RunFailure
from tests.service import rows
from tests.service.work import claim, report


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


def versions_in(engine, namespace, count, *, maker):
    """Insert a line with so many versions and give their references."""
    with write(engine) as conn:
        place = deltas.add_namespace(conn, namespace, created_by=maker.principal_id).id
        deltas.add_delta(conn, place, "x", created_by=maker.principal_id)
        line = deltas.delta_row(conn, namespace, "x")
        assert line is not None
        for _ in range(count):
            rows.add_version(conn, line.id)
    return [f"{namespace}/x:v{number}" for number in range(1, count + 1)]


def queue_at_once(registry, caller, line, count):
    """Queue versions v1 … of a line as their pushes would, in one transaction."""
    with write(registry.engine) as conn:
        for number in range(1, count + 1):
            version = find_version(conn, caller, Ref.parse(f"{line}:v{number}"), bare="newest")
            queue_default_suite(conn, caller, version)


def queue_all(registry, caller, refs, **options):
    return [queue_run(registry, caller, RunCreate(ref=ref, **options)).id for ref in refs]


def serve(registry, worker, count, *, name="w1"):
    """Have a worker do so many runs, one after the other; gives their references."""
    served = []
    for _ in range(count):
        grant = claim(registry, worker, name=name)
        served.append(grant.ref)
        complete_run(registry, worker, grant.run, report(grant))
    return served


@pytest.mark.parametrize("many", [120, pytest.param(1000, marks=pytest.mark.soak)])
def test_one_run_is_served_among_the_first_although_many_were_queued_before(registry, ada, worker, many):
    versions_in(registry.engine, "many", many, maker=ada)
    queue_at_once(registry, ada, "many/x", many)
    serve(registry, worker, 1)  # from here on all workers take runs on its base
    first, second = claim(registry, worker), claim(registry, worker, name="w2")
    (one,) = versions_in(registry.engine, "one", 1, maker=ada)
    queue_all(registry, ada, [one])

    complete_run(registry, worker, first.run, report(first))
    served = serve(registry, worker, 3)
    complete_run(registry, worker, second.run, report(second))

    assert one in served


def test_namespaces_that_wait_are_served_by_turns(registry, ada, worker):
    queue_all(registry, ada, versions_in(registry.engine, "a", 6, maker=ada))
    queue_all(registry, ada, versions_in(registry.engine, "b", 3, maker=ada))

    served = [ref.split("/")[0] for ref in serve(registry, worker, 9)]

    assert served == ["a", "b", "a", "b", "a", "b", "a", "a", "a"]


def test_who_comes_late_has_no_claim_on_the_past(registry, ada, worker):
    queue_all(registry, ada, versions_in(registry.engine, "a", 12, maker=ada))
    serve(registry, worker, 6)
    queue_all(registry, ada, versions_in(registry.engine, "b", 4, maker=ada))

    served = [ref.split("/")[0] for ref in serve(registry, worker, 6)]

    assert served == ["a", "b"] * 3 or served == ["b", "a"] * 3


def test_a_run_that_no_worker_can_do_gives_late_comers_no_advantage(registry, ada, worker):
    (odd, *refs) = versions_in(registry.engine, "a", 13, maker=ada)
    queue_all(registry, ada, [odd], labels={"gpu": "h100"})
    queue_all(registry, ada, refs)
    serve(registry, worker, 6)
    queue_all(registry, ada, versions_in(registry.engine, "b", 5, maker=ada))

    served = [ref.split("/")[0] for ref in serve(registry, worker, 6)]

    assert served.count("a") == served.count("b") == 3


def test_the_turns_of_cancelled_runs_are_not_held_against_a_namespace(registry, ada, worker):
    ids = queue_all(registry, ada, versions_in(registry.engine, "a", 20, maker=ada))
    for run_id in ids[1:]:
        cancel_run(registry, ada, run_id)
    queue_all(registry, ada, versions_in(registry.engine, "b", 5, maker=ada))
    queue_all(registry, ada, ["a/x:v20"])

    served = serve(registry, worker, 4)

    assert "a/x:v20" in served


def test_priority_goes_before_turns(registry, ada, worker, engine):
    boss = rows.caller(engine, "boss", scopes={"read", "push", "promote"})
    refs = versions_in(engine, "a", 4, maker=ada)
    queue_all(registry, ada, [refs[0]], priority="background")
    queue_all(registry, ada, [refs[1]], priority="low")
    queue_all(registry, ada, [refs[2]])
    queue_all(registry, boss, [refs[3]], priority="high")

    assert serve(registry, worker, 4) == refs[::-1]


def test_high_priority_is_for_those_who_promote(registry, ada):
    (ref,) = versions_in(registry.engine, "a", 1, maker=ada)

    with pytest.raises(Forbidden, match="high priority"):
        queue_all(registry, ada, [ref], priority="high")


def test_who_joins_a_run_with_more_urgency_brings_it_forward(registry, ada, worker, engine):
    boss = rows.caller(engine, "boss", scopes={"read", "push", "promote"})
    refs = versions_in(engine, "a", 3, maker=ada)
    ids = queue_all(registry, ada, refs)

    joined = queue_all(registry, boss, [refs[2]], priority="high")
    back = queue_all(registry, ada, [refs[2]], priority="low")

    assert joined == back == [ids[2]]
    assert show_run(registry, ada, ids[2]).priority == "high"
    assert serve(registry, worker, 1) == [refs[2]]


def test_the_queue_lists_what_runs_and_then_what_waits(registry, ada, worker):
    refs = versions_in(registry.engine, "a", 3, maker=ada)
    queue_all(registry, ada, refs)
    (other,) = versions_in(registry.engine, "b", 1, maker=ada)
    queue_all(registry, ada, [other])
    claim(registry, worker)

    whole = list_queue(registry, ada, ref=None, cursor=None, limit=50).items
    of_one = list_queue(registry, ada, ref=Ref.parse(refs[2]), cursor=None, limit=50).items

    assert [(run.ref, run.state, run.position) for run in whole] == [
        (refs[0], "running", None),
        (other, "queued", 1),
        (refs[1], "queued", 2),
        (refs[2], "queued", 3),
    ]
    assert [(run.ref, run.position) for run in of_one] == [(refs[2], 3)]
    assert show_run(registry, ada, of_one[0].id).position == 3


def test_the_queue_is_paged(registry, ada):
    refs = versions_in(registry.engine, "a", 5, maker=ada)
    queue_all(registry, ada, refs)

    first = list_queue(registry, ada, ref=None, cursor=None, limit=3)
    second = list_queue(registry, ada, ref=None, cursor=first.next_cursor, limit=3)

    assert [run.position for run in (*first.items, *second.items)] == [1, 2, 3, 4, 5]
    assert second.next_cursor is None


def test_a_run_says_that_nobody_who_works_could_take_it(registry, ada, worker):
    (ref,) = versions_in(registry.engine, "a", 1, maker=ada)
    (run_id,) = queue_all(registry, ada, [ref], labels={"gpu": "h100", "gpu_memory_gib": "40"})

    nobody = show_run(registry, ada, run_id).unserved
    claim(registry, worker, labels={"device": "cpu"})
    unfit = show_run(registry, ada, run_id).unserved
    claim(registry, worker, name="w2", labels={"gpu": "NVIDIA H100 80GB", "gpu_memory_gib": "24"})
    small = show_run(registry, ada, run_id).unserved
    queue_run(registry, ada, RunCreate(ref=ref))
    claim(registry, worker, name="w3", labels={"gpu": "NVIDIA H100 80GB", "gpu_memory_gib": "79"})

    assert nobody == "no worker runs now"
    assert unfit == small == "no worker that runs now offers gpu=h100, gpu_memory_gib=40"
    assert show_run(registry, ada, run_id).state == "running"


def test_labels_make_a_run_of_its_own(registry, ada, worker):
    (ref,) = versions_in(registry.engine, "a", 1, maker=ada)
    anywhere = queue_run(registry, ada, RunCreate(ref=ref))
    serve(registry, worker, 1)

    there = queue_run(registry, ada, RunCreate(ref=ref, labels={"device": "cuda"}))
    again = queue_run(registry, ada, RunCreate(ref=ref, labels={"device": "cuda"}))

    assert there.id == again.id != anywhere.id
    assert there.labels == {"device": "cuda"}


def test_workers_are_listed_with_what_they_run(registry, ada, worker):
    (ref,) = versions_in(registry.engine, "a", 1, maker=ada)
    queue_all(registry, ada, [ref])
    claim(registry, worker, name="busy", labels={"device": "cuda", "gpu": "L40S"})
    claim(registry, worker, name="idle", labels={"device": "cpu"})

    busy, idle = list_workers(registry, ada).items

    assert (busy.name, busy.ref, busy.is_live) == ("busy", ref, True)
    assert (idle.name, idle.ref, idle.run, idle.is_live) == ("idle", None, None, True)
    assert [(each.device, each.idle, each.busy) for each in workforce(registry)] == [("cpu", 1, 0), ("cuda", 0, 1)]


def test_depth_is_counted_by_the_hardware_asked_for(registry, ada):
    refs = versions_in(registry.engine, "a", 3, maker=ada)
    queue_all(registry, ada, refs)
    queue_all(registry, ada, refs[:2], labels={"gpu": "H100"})
    queue_all(registry, ada, refs[:1], labels={"device": "cpu"})

    found = {(each.what, each.device): each.waiting for each in queue_depth(registry)}

    assert found == {("verify", "any"): 3, ("verify", "h100"): 2, ("verify", "cpu"): 1}


def test_what_died_for_want_of_a_base_is_queued_when_it_is_stored(registry, ada, worker):
    refs = versions_in(registry.engine, "a", 3, maker=ada)
    dead, judged = queue_all(registry, ada, refs[:2])
    for run_id in (dead, judged):
        give_up(registry, worker, run_id)
    queue_all(registry, ada, refs[1:2], again=True)
    serve(registry, worker, 1)
    (waits,) = queue_all(registry, ada, refs[2:])

    for _ in range(2):
        with write(registry.engine) as conn:
            conn.execute(sa.update(t.versions).values(base_id=1))
            verify_where_base_was_missed(conn, ada, 1)

    queued = list_queue(registry, ada, ref=None, cursor=None, limit=50).items
    assert [(run.ref, run.priority) for run in queued] == [(refs[2], "normal"), (refs[0], "low")]
    assert (queued[0].id, queued[1].id != dead) == (waits, True)


def give_up(registry, worker, run_id):
    """Have a worker fail a run as often as it may."""
    for _ in range(3):
        grant = claim(registry, worker, run=run_id)  # whichever is next: it has lost its turn
        fail_run(registry, worker, run_id, RunFailure(fence=grant.fence, error="no such base"))
