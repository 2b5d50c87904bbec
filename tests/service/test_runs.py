"""Runs and verdicts: queued once, joined, cancelled, repeated, listed, bound."""

import threading

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import hold_lease
from deltareg.service.runs.queue import queue_depth
from deltareg.service.runs.runs import cancel_run, list_runs, queue_run, rerun, show_run
from deltareg.service.verdicts.verdicts import list_verdicts, show_verdict
from deltareg.store.memory import MemoryStore
from deltareg.wire import LeaseHold, RunCreate
from tests.service import rows
from tests.service.work import audited, claim, enqueue, expire, report
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


@pytest.mark.parametrize(
    ("column", "value"),
    [("suite_digest", "sha256:x"), ("base_root", "blake3:x"), ("manifest_digest", "sha256:x"), ("suite", "other")],
)
def test_a_verdict_does_not_count_for_another_thing(registry, ada, worker, queued, column, value):
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))

    with write(registry.engine) as conn, rows.unguarded(conn, t.verdicts):
        conn.execute(sa.update(t.verdicts).values({column: value}))

    assert verdict.counts
    assert not show_verdict(registry, ada, verdict.id).counts


def test_a_second_request_joins_the_run_under_way(registry, ada, worker, queued, ref):
    while_queued = queue_run(registry, ada, RunCreate(ref=ref, again=True))
    claim(registry, worker)
    while_running = queue_run(registry, ada, RunCreate(ref=ref))

    assert (while_queued.id, while_running.id) == (queued, queued)
    assert [row[1] for row in audited(registry)] == ["run.queue"]


def test_a_version_that_was_judged_is_not_judged_again_unless_asked(registry, ada, worker, queued, ref):
    complete_run(registry, worker, queued, report(claim(registry, worker)))

    known = queue_run(registry, ada, RunCreate(ref=ref))
    again = queue_run(registry, ada, RunCreate(ref=ref, again=True))

    assert (known.id, known.state) == (queued, "done")
    assert (again.state, again.verdict) == ("queued", None)


def test_an_inconclusive_verdict_is_no_reason_not_to_try_again(registry, ada, worker, queued, ref):
    inconclusive = report(claim(registry, worker), verdict="inconclusive", skip="effect")
    complete_run(registry, worker, queued, inconclusive)

    assert queue_run(registry, ada, RunCreate(ref=ref)).state == "queued"


def test_many_requests_at_once_make_one_run(registry, ada, ref):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(queue_run(registry, ada, RunCreate(ref=ref)))) for _ in range(8)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len({run.id for run in found}) == 1
    assert len(rows.rows(registry.engine, t.runs)) == 1


def test_a_run_that_ended_can_be_run_again(registry, ada, worker, queued):
    cancel_run(registry, ada, queued)

    again = rerun(registry, ada, queued)

    assert again.id != queued
    assert claim(registry, worker).run == again.id


def test_runs_and_verdicts_are_listed_newest_first_page_by_page(registry, ada, worker, ref):
    made = []
    for _ in range(5):
        run = queue_run(registry, ada, RunCreate(ref=ref, again=True))
        made.append(complete_run(registry, worker, run.id, report(claim(registry, worker))))
    at = Ref.parse(ref)

    runs = pages(lambda c: list_runs(registry, ada, state="done", what="verify", ref=at, cursor=c, limit=2))
    verdicts = pages(lambda c: list_verdicts(registry, ada, at, suite="smoke", cursor=c, limit=2))

    assert [run.verdict for run in runs] == made[::-1]
    assert verdicts == made[::-1]
    with pytest.raises(InvalidInput, match="cursor"):
        list_verdicts(registry, ada, at, suite=None, cursor="bm9uc2Vuc2U=", limit=2)


def test_the_depth_of_the_queue_counts_what_waits(registry, worker, ref):
    rows.measure_base(registry.engine, enrol(registry.engine, worker.principal_id, worker.principal))
    for name in ("a", "b", "c", "d"):
        enqueue(registry, name)
    claim(registry, worker)
    lost = claim(registry, worker, name="w2").run
    expire(registry, lost)

    (depth,) = queue_depth(registry)

    assert (depth.what, depth.waiting, depth.running) == ("verify", 3, 1)
    assert 0 <= depth.oldest_s < 60


def test_what_is_not_there_is_not_found(registry, ada, worker, ref):
    missing = LeaseHold(run="none", fence=1)

    with pytest.raises(NotFound):
        hold_lease(registry, worker, missing, lease_s=60)
    with pytest.raises(NotFound):
        show_run(registry, ada, "none")
    with pytest.raises(NotFound):
        show_verdict(registry, ada, "none")
    with pytest.raises(NotFound):
        queue_run(registry, ada, RunCreate(ref=ref, suite="none"))


def pages(ask):
    found, cursor = [], None
    while True:
        page = ask(cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
