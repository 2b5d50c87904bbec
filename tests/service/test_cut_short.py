"""A verification that is cancelled when it is about to fail: what was found stays, and who may end it."""

import pytest

from deltareg.db.access.owners import set_owner
from deltareg.db.session import write
from deltareg.errors import Forbidden
from deltareg.refs import LineRef, Ref
from deltareg.service.channels.channels import create_channel
from deltareg.service.channels.gate import check_gate
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import fail_run
from deltareg.service.runs.log import append_log
from deltareg.service.runs.runs import cancel_run, queue_run, show_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import CheckResult, LineSent, LogAppend, RunCreate, RunFailure
from tests.service import rows
from tests.service.work import claim, report

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
