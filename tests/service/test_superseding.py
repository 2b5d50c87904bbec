"""What pushes queue by themselves gives way to the next push, and nothing else does."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import superseding
from deltareg.db.session import read, with_retry, write
from deltareg.refs import Ref
from deltareg.service.describe import describe_versions
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import complete_run, queue_default_suite, queue_of_push
from deltareg.service.runs.leases import fail_run, hold_lease
from deltareg.service.runs.log import append_log
from deltareg.service.runs.queue import list_queue
from deltareg.service.runs.runs import queue_run, show_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import CheckResult, LeaseHold, LineSent, LogAppend, RunCreate, RunFailure
from tests.service import rows
from tests.service.work import audited, claim, report


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine, scopes={"read", "push", "promote"})


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"verify"})


@pytest.fixture
def line(registry, ada):
    return rows.line(registry.engine, maker=ada)


@pytest.fixture
def push(registry, ada, line):
    """Push once more, and give the run that this queued."""

    def once(to=line):
        def transaction(conn):
            row = version_queries.version_by_id(conn, rows.add_version(conn, to))
            return queue_of_push(conn, ada, row)

        return with_retry(registry.engine, transaction)

    return once


def states(registry, ada, *runs):
    return [show_run(registry, ada, run).state for run in runs]


def waiting(registry, ada, ref=None):
    return [run.ref for run in list_queue(registry, ada, ref=ref, cursor=None, limit=50).items]


def test_a_training_loop_leaves_one_run_in_the_queue(registry, ada, push):
    runs = [push() for _ in range(20)]

    assert waiting(registry, ada) == ["lab/x:v20"]
    assert set(states(registry, ada, *runs[:-1])) == {"cancelled"}


def test_what_was_superseded_says_by_what(registry, ada, push):
    first, _ = push(), push()

    shown = show_run(registry, ada, first)
    with read(registry.engine) as conn:
        found = version_queries.versions_by_ids(conn, [1, 2])
        listed = describe_versions(conn, [found[1], found[2]])

    assert (shown.superseded_by, shown.error) == ("lab/x:v2", "superseded by lab/x:v2")
    assert {info.version: info.superseded_by for info in listed} == {1: "lab/x:v2", 2: ""}
    assert ("ada", "run.supersede", f"run/{first}") in audited(registry)


def test_a_version_that_was_superseded_can_still_be_verified(registry, ada, worker, push):
    first, _ = push(), push()

    again = queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    with read(registry.engine) as conn:
        (info,) = describe_versions(conn, [version_queries.version_by_id(conn, 1)])

    assert (again.id != first, again.state, info.superseded_by) == (True, "queued", "")
    push()
    assert states(registry, ada, again.id) == ["queued"]


ASKED = {
    "a person": RunCreate(ref="lab/x:v1"),
    "a person, again": RunCreate(ref="lab/x:v1", again=True),
    "a person who is in a hurry": RunCreate(ref="lab/x:v1", priority="high"),
}


@pytest.mark.parametrize("by", ASKED)
def test_what_somebody_asked_for_stays(registry, ada, push, by):
    first = push()

    joined = queue_run(registry, ada, ASKED[by])
    push()

    assert joined.id == first
    assert states(registry, ada, first) == ["queued"]


def test_what_a_channel_asked_for_stays(registry, ada, worker, push):
    first = push()
    with_retry(
        registry.engine,
        lambda conn: queue_default_suite(conn, ada, version_queries.version_by_id(conn, 1), again=True, priority=10),
    )

    push()

    assert states(registry, ada, first) == ["queued"]


def channel(conn, line, *, revision=0):
    return conn.execute(
        sa.insert(t.channels).values(delta_id=line, name="dev", policy={}, revision=revision).returning(t.channels.c.id)
    ).scalar_one()


def digest_of(conn, version_id):
    return version_queries.version_by_id(conn, version_id).manifest_digest


def test_the_run_of_a_version_that_somebody_wants_on_a_channel_stays(registry, ada, line, push):
    first = push()
    with write(registry.engine) as conn:
        conn.execute(
            sa.insert(t.requests).values(
                channel_id=channel(conn, line),
                version_id=1,
                digest=digest_of(conn, 1),
                reason="",
                policy_digest="sha256:x",
                seen_revision=0,
                opener_id=ada.principal_id,
            )
        )

    push()

    assert states(registry, ada, first) == ["queued"]


def test_the_run_of_a_version_that_a_channel_serves_stays(registry, ada, line, push):
    first = push()
    with write(registry.engine) as conn:
        served = channel(conn, line, revision=1)
        conn.execute(
            sa.insert(t.revisions).values(
                channel_id=served,
                number=1,
                kind="promote",
                version_id=1,
                reason="",
                digest=digest_of(conn, 1),
                base_root=rows.BASE_ROOT,
                actor_id=ada.principal_id,
                verdict_ids=[],
                break_glass=False,
            )
        )

    push()

    assert states(registry, ada, first) == ["queued"]


def test_another_line_keeps_its_run(registry, ada, line, push):
    first = push(rows.line(registry.engine, "y", maker=ada))

    push(line)

    assert states(registry, ada, first) == ["queued"]


def test_what_a_worker_has_begun_goes_on(registry, ada, worker, push):
    first = push()
    grant = claim(registry, worker)

    push()
    hold_lease(registry, worker, LeaseHold(run=first, fence=grant.fence), lease_s=60)

    assert complete_run(registry, worker, first, report(grant)).verdict == "pass"


def test_what_was_found_before_a_worker_gave_back_stays(registry, ada, worker, push):
    first = push()
    grant = claim(registry, worker)
    failed = LineSent(check=CheckResult(name="rows", verdict="fail"))
    append_log(registry, worker, first, LogAppend(fence=grant.fence, first=0, lines=[failed]))
    push()
    fail_run(registry, worker, first, RunFailure(fence=grant.fence, error="no memory"))

    push()

    ended = show_run(registry, ada, first)
    assert ended.state == "cancelled"
    assert ended.verdict is not None
    assert [check.name for check in ended.verdict.checks] == ["infrastructure", "rows"]
    assert "superseded by lab/x:v3 when rows had failed" in ended.verdict.checks[0].detail


def test_what_a_worker_gave_back_is_superseded_by_the_next_push(registry, ada, worker, push):
    first = push()
    grant = claim(registry, worker)
    push()
    fail_run(registry, worker, first, RunFailure(fence=grant.fence, error="no memory"))

    push()

    assert states(registry, ada, first) == ["cancelled"]


def test_a_run_that_is_leased_at_that_very_moment_is_either_run_or_superseded(registry, ada, worker, push):
    outcomes = set()
    for number in range(5):
        first = push()
        granted: list[Any] = []
        start = threading.Barrier(2)

        def take(start=start, granted=granted):
            start.wait()
            granted.append(claim(registry, worker))

        thread = threading.Thread(target=take)
        thread.start()
        start.wait()
        newest = push()
        thread.join()

        (grant,) = granted
        (state,) = states(registry, ada, first)
        taken = None if grant is None else grant.run
        assert (state, taken) in {("running", first), ("cancelled", newest), ("cancelled", None)}
        outcomes.add(state)
        # A claim passes over rows that the push holds: it may come back empty beside a full queue.
        grant = grant or claim(registry, worker)
        while grant is not None:  # leave an empty queue to the next round
            complete_run(registry, worker, grant.run, report(grant))
            grant = claim(registry, worker)
        assert not waiting(registry, ada), number
    assert outcomes


def test_who_joins_at_that_very_moment_gets_a_run_that_stays(registry, ada, push):
    for _ in range(5):
        push()
        asked: list[Any] = []
        start = threading.Barrier(2)
        ref = f"lab/x:v{len(rows.rows(registry.engine, t.versions))}"

        def ask(start=start, ref=ref, asked=asked):
            start.wait()
            asked.append(queue_run(registry, ada, RunCreate(ref=ref)))

        thread = threading.Thread(target=ask)
        thread.start()
        start.wait()
        push()
        push()
        thread.join()

        assert states(registry, ada, asked[0].id) == ["queued"]
        assert ref in waiting(registry, ada, Ref.parse(ref))


def test_a_claim_under_way_is_passed_over(registry, ada, worker, push):
    """A claim holds its row from its first statement to its commit; on SQLite it is alone."""
    if registry.engine.dialect.name != "postgresql":
        pytest.skip("writers of SQLite wait for each other")
    first = push()
    with write(registry.engine) as conn:
        locked = sa.select(t.runs.c.id).where(t.runs.c.id == first).with_for_update()
        conn.execute(locked)

        push()

    assert states(registry, ada, first) == ["queued"]


def test_the_mark_does_not_travel_to_runs_that_somebody_asks_for(registry, ada, push):
    first = push()
    with read(registry.engine) as conn:
        before = conn.execute(sa.select(t.runs.c.request).where(t.runs.c.id == first)).scalar()

    queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    with read(registry.engine) as conn:
        after = conn.execute(sa.select(t.runs.c.request).where(t.runs.c.id == first)).scalar()

    assert after is not None
    assert before == {**after, superseding.AUTOMATIC: "push"}
