"""A verification that is cancelled when it is about to fail: what was found stays, and who may end it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access.owners import set_owner
from deltareg.db.session import write
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import Forbidden, LeaseLost
from deltareg.refs import LineRef, Ref
from deltareg.service.access.people import disable_person
from deltareg.service.channels.channels import create_channel
from deltareg.service.channels.gate import check_gate
from deltareg.service.push.corruption import end_work
from deltareg.service.registry import Registry
from deltareg.service.runs.death import bury_exhausted
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import fail_run
from deltareg.service.runs.log import append_log
from deltareg.service.runs.runs import cancel_run, queue_run, show_run
from deltareg.service.verdicts.verdicts import list_verdicts
from deltareg.store.memory import MemoryStore
from deltareg.wire import CheckResult, LineSent, LogAppend, RunCreate, RunFailure
from tests.service import rows
from tests.service.work import claim, expire, report

REF = "lab/x:v1"
FAILED = CheckResult(name="rows", verdict="fail", detail="row 3 changes 90 times as much")
PASSED = CheckResult(name="finite", verdict="pass")


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def root(registry):
    return rows.caller(registry.engine, "root")


@pytest.fixture
def ada(registry, root):
    caller = rows.caller(registry.engine, scopes={"read", "push", "promote"})
    rows.version(registry.engine, rows.line(registry.engine, maker=caller))
    create_channel(registry, root, LineRef("lab", "x"), "prod")
    return caller


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"read", "verify"})


def under_way(registry, caller, worker, *checks, again=False):
    """Have a worker take a run and tell these checks; gives its lease."""
    run = queue_run(registry, caller, RunCreate(ref=REF, again=again))
    grant = claim(registry, worker, run=run.id)
    lines = [LineSent(text="begins"), *(LineSent(check=check) for check in checks)]
    append_log(registry, worker, run.id, LogAppend(fence=grant.fence, first=0, lines=lines))
    return grant


def test_what_had_failed_stays_when_the_run_is_cancelled_and_opens_no_gate(registry, ada, worker):
    earlier = under_way(registry, ada, worker)
    complete_run(registry, worker, earlier.run, report(earlier))
    grant = under_way(registry, ada, worker, PASSED, FAILED, again=True)

    verdict = cancel_run(registry, ada, grant.run).verdict

    assert verdict is not None
    assert verdict.verdict == "inconclusive"
    assert [(check.name, check.verdict) for check in verdict.checks] == [
        ("infrastructure", "fail"),
        ("finite", "pass"),
        ("rows", "fail"),
    ]
    assert (verdict.checks[0].code, verdict.checks[0].detail) == ("cancelled", "cancelled by ada when rows had failed")
    unmet = check_gate(registry, ada, Ref.parse(REF), "prod").unmet
    assert [each.rule for each in unmet] == ["inconclusive"]
    assert unmet[0].message.endswith("cancelled by ada when rows had failed")


def test_a_pass_after_it_needs_a_second_worker_as_after_any_failure(registry, ada, worker):
    cancel_run(registry, ada, under_way(registry, ada, worker, FAILED).run)
    lucky = under_way(registry, ada, worker, again=True)
    complete_run(registry, worker, lucky.run, report(lucky))

    unmet = check_gate(registry, ada, Ref.parse(REF), "prod").unmet

    assert [each.rule for each in unmet] == ["inconclusive"]


def test_nothing_is_said_against_a_version_of_which_nothing_had_failed(registry, ada, worker):
    earlier = under_way(registry, ada, worker)
    complete_run(registry, worker, earlier.run, report(earlier))

    ended = cancel_run(registry, ada, under_way(registry, ada, worker, PASSED, again=True).run)

    assert (ended.state, ended.verdict) == ("cancelled", None)
    unmet = check_gate(registry, ada, Ref.parse(REF), "prod").unmet
    assert unmet == []


def test_what_a_run_had_found_before_it_ran_out_of_time_is_in_its_verdict(registry, ada, worker):
    grant = under_way(registry, ada, worker, FAILED)

    fail_run(registry, worker, grant.run, RunFailure(fence=grant.fence, error="too slow", is_out_of_time=True))

    ended = show_run(registry, ada, grant.run)
    assert ended.verdict is not None
    assert [check.name for check in ended.verdict.checks] == ["infrastructure", "rows"]
    assert (ended.state, ended.verdict.checks[0].code) == ("dead", "out_of_time")


def test_a_colleague_who_pushes_does_not_end_what_somebody_else_asked_for(registry, ada, worker):
    bob = rows.caller(registry.engine, "bob", scopes={"read", "push"})
    grant = under_way(registry, ada, worker, FAILED)

    with pytest.raises(Forbidden, match="ada asked for this run"):
        cancel_run(registry, bob, grant.run)

    assert show_run(registry, bob, grant.run).state == "running"


def test_a_person_ends_what_their_pipeline_asked_for_and_an_admin_what_anybody_did(registry, ada, root, worker):
    pipeline = rows.caller(registry.engine, "ci", kind="service", scopes={"read", "push"})
    with write(registry.engine) as conn:
        set_owner(conn, pipeline.principal_id, ada.principal_id, created_by=None)

    own = cancel_run(registry, ada, under_way(registry, pipeline, worker).run)
    others = cancel_run(registry, root, under_way(registry, pipeline, worker).run)

    assert own.state == others.state == "cancelled"


def test_a_failure_of_one_attempt_is_not_outdone_by_a_pass_of_the_next(registry, ada, worker):
    first = under_way(registry, ada, worker, FAILED)
    fail_run(registry, worker, first.run, RunFailure(fence=first.fence, error="killed: out of memory"))
    second = claim(registry, worker, run=first.run)
    complete_run(registry, worker, second.run, report(second))

    verdicts = list_verdicts(registry, ada, Ref.parse(REF), suite=None, cursor=None, limit=10).items

    assert [each.verdict for each in verdicts] == ["pass", "inconclusive"]
    assert [check.name for check in verdicts[1].checks] == ["infrastructure", "rows"]
    assert verdicts[1].checks[0].detail == "an earlier attempt ended without a verdict when rows had failed"
    unmet = check_gate(registry, ada, Ref.parse(REF), "prod").unmet
    assert [each.rule for each in unmet] == ["inconclusive"]


def test_a_failure_of_a_worker_that_went_away_is_not_outdone_either(registry, ada, worker):
    first = under_way(registry, ada, worker, FAILED)
    expire(registry, first.run)
    second = claim(registry, worker, run=first.run)
    complete_run(registry, worker, second.run, report(second))

    unmet = check_gate(registry, ada, Ref.parse(REF), "prod").unmet

    assert [each.rule for each in unmet] == ["inconclusive"]


def test_a_check_that_failed_in_one_attempt_has_failed_when_the_next_is_cancelled(registry, ada, worker):
    first = under_way(registry, ada, worker, FAILED)
    fail_run(registry, worker, first.run, RunFailure(fence=first.fence, error="killed: out of memory"))
    second = claim(registry, worker, run=first.run)
    again = [LineSent(check=FAILED.model_copy(update={"verdict": "pass"}))]
    append_log(registry, worker, second.run, LogAppend(fence=second.fence, first=0, lines=again))

    verdict = cancel_run(registry, ada, second.run).verdict

    assert verdict is not None
    assert [(check.name, check.verdict) for check in verdict.checks][1:] == [("rows", "fail")]


def test_a_check_that_fails_while_the_run_is_cancelled_is_kept(registry, ada, worker):
    grant = under_way(registry, ada, worker, PASSED)
    cancel_run(registry, ada, grant.run)

    with pytest.raises(LeaseLost):
        append_log(registry, worker, grant.run, LogAppend(fence=grant.fence, first=2, lines=[LineSent(check=FAILED)]))

    verdict = show_run(registry, ada, grant.run).verdict
    assert verdict is not None
    assert [check.name for check in verdict.checks] == ["infrastructure", "finite", "rows"]
    assert verdict.checks[0].detail == "cancelled by ada when rows had failed"
    assert verdict.verdict == "inconclusive"


def test_a_report_that_arrives_while_the_run_is_cancelled_keeps_what_failed(registry, ada, worker):
    grant = under_way(registry, ada, worker, PASSED)
    failed = report(grant, verdict="fail", fail="finite")
    cancel_run(registry, ada, grant.run)

    for _ in range(2):  # as its answer may be lost
        with pytest.raises(LeaseLost):
            complete_run(registry, worker, grant.run, failed)

    verdict = show_run(registry, ada, grant.run).verdict
    assert verdict is not None
    assert [check.name for check in verdict.checks if check.verdict == "fail"] == ["infrastructure", "finite"]
    assert len(list_verdicts(registry, ada, Ref.parse(REF), suite=None, cursor=None, limit=10).items) == 1


def test_a_report_to_a_run_that_was_given_up_keeps_what_failed(registry, ada, worker):
    grant = under_way(registry, ada, worker)
    for _ in range(2):
        expire(registry, grant.run)
        grant = claim(registry, worker, run=grant.run)
    failed = report(grant, verdict="fail", fail="finite")
    expire(registry, grant.run)
    bury_exhausted(registry)

    for _ in range(2):
        with pytest.raises(LeaseLost):
            complete_run(registry, worker, grant.run, failed)

    verdicts = list_verdicts(registry, ada, Ref.parse(REF), suite=None, cursor=None, limit=10).items
    assert [each.verdict for each in verdicts] == ["inconclusive", "inconclusive"]
    assert [check.name for check in verdicts[0].checks if check.verdict == "fail"] == ["infrastructure", "finite"]


def test_only_who_held_a_run_adds_to_it_once_it_is_cancelled(registry, ada, root, worker):
    other = rows.caller(registry.engine, "gpu-2", kind="worker", scopes={"read", "verify"})
    grant = under_way(registry, ada, worker, PASSED)
    cancel_run(registry, ada, grant.run)
    lines = LogAppend(fence=grant.fence, first=2, lines=[LineSent(check=FAILED)])

    with pytest.raises(LeaseLost):
        append_log(registry, other, grant.run, lines)
    with pytest.raises(Forbidden):
        append_log(registry, ada, grant.run, lines)
    with pytest.raises(LeaseLost):
        append_log(registry, worker, grant.run, lines.model_copy(update={"fence": grant.fence - 1}))

    assert show_run(registry, ada, grant.run).verdict is None


def test_text_does_not_push_a_failed_check_out_of_the_log(registry, ada, worker):
    grant = under_way(registry, ada, worker)
    text = [LineSent(text="x" * 1_000) for _ in range(200)]
    for number in range(8):
        lines = LogAppend(fence=grant.fence, first=1 + 200 * number, lines=text)
        append_log(registry, worker, grant.run, lines)
    append_log(registry, worker, grant.run, LogAppend(fence=grant.fence, first=1_601, lines=[LineSent(check=FAILED)]))

    verdict = cancel_run(registry, ada, grant.run).verdict

    assert verdict is not None
    assert [check.name for check in verdict.checks] == ["infrastructure", "rows"]


def test_what_was_found_stays_when_the_bytes_turn_out_to_be_corrupt(registry, ada, worker):
    grant = under_way(registry, ada, worker, FAILED)
    with write(registry.engine) as conn:
        end_work(conn, PackHolder(_version_id(conn)))

    ended = show_run(registry, ada, grant.run)

    assert ended.state == "cancelled"
    assert ended.verdict is not None
    assert ended.verdict.checks[0].detail == "the bytes of the version are corrupt when rows had failed"


def test_what_was_found_stays_when_who_asked_is_disabled(registry, ada, root, worker):
    grant = under_way(registry, ada, worker, FAILED)

    disable_person(registry, root, "ada")

    assert show_run(registry, root, grant.run).state == "running"
    complete_run(registry, worker, grant.run, report(grant, verdict="fail", fail="finite"))
    assert present(show_run(registry, root, grant.run).verdict).verdict == "fail"


def _version_id(conn):
    return conn.execute(sa.select(t.versions.c.id)).scalar_one()


def test_a_failure_that_races_its_cancellation_is_kept_whichever_comes_first(registry, ada, worker):
    for _ in range(8):
        grant = under_way(registry, ada, worker, PASSED, again=True)
        lines = LogAppend(fence=grant.fence, first=2, lines=[LineSent(check=FAILED)])
        with ThreadPoolExecutor(2) as pool:
            appended = pool.submit(append_log, registry, worker, grant.run, lines)
            cancelled = pool.submit(cancel_run, registry, ada, grant.run)

        assert cancelled.exception() is None
        assert appended.exception() is None or isinstance(appended.exception(), LeaseLost)
        verdict = show_run(registry, ada, grant.run).verdict
        assert verdict is not None
        assert "rows" in [check.name for check in verdict.checks if check.verdict == "fail"]
