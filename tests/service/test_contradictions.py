"""A pass after a failure of the very same thing: neither is taken until a third run has said."""

import pytest

from deltareg.db import tables as t
from deltareg.refs import LineRef, Ref
from deltareg.service.channels.channels import create_channel
from deltareg.service.channels.gate import check_gate
from deltareg.service.registry import Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.runs import queue_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import RunCreate
from tests.service import rows, work
from tests.service.work import audited, report
from tests.signers import enrol

REF = "lab/x:v1"


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(registry):
    caller = rows.caller(registry.engine)
    rows.version(registry.engine, rows.line(registry.engine, maker=caller))
    create_channel(registry, caller, LineRef("lab", "x"), "prod")
    return caller


@pytest.fixture
def workers(registry):
    """Give three workers; who is to be asked is enrolled by a test, or by taking a run."""
    names = ("gpu-1", "gpu-2", "gpu-3")
    scopes = {"read", "verify"}
    return [rows.caller(registry.engine, name, kind="worker", scopes=scopes) for name in names]


def enrolled(registry, *workers):
    for worker in workers:
        enrol(registry.engine, worker.principal_id, worker.principal)


def claim(registry, worker):
    return work.claim(registry, worker, name=worker.principal)


def judged(registry, ada, worker, **found):
    """Let a worker judge the version once more."""
    run = queue_run(registry, ada, RunCreate(ref=REF, again=True))
    grant = claim(registry, worker)
    assert grant.run == run.id
    return complete_run(registry, worker, run.id, report(grant, **found))


def unmet(registry, ada):
    return [(rule.rule, rule.fix) for rule in check_gate(registry, ada, Ref.parse(REF), "prod").unmet]


FAILED = {"verdict": "fail", "fail": "effect"}


def test_a_pass_after_a_failure_waits_for_another_worker_which_settles_it(registry, ada, workers):
    first, second, _ = workers
    enrolled(registry, first, second)
    failed = judged(registry, ada, first, **FAILED)
    passed = judged(registry, ada, first)

    answer = check_gate(registry, ada, Ref.parse(REF), "prod")
    (rule,) = answer.unmet
    assert (rule.rule, answer.verdicts) == ("inconclusive", [])
    assert f"effect failed 0 s ago ({failed.id[:8]}) under the same bindings" in rule.message
    assert rule.fix == f"deltareg verify {REF} --suite smoke --independent --wait"
    assert ("gpu-1", "verdict.contradict", f"verdict/{passed.id}") in audited(registry)

    assert claim(registry, first) is None, "who passed it does not decide"
    third = claim(registry, second)
    complete_run(registry, second, third.run, report(third))

    assert unmet(registry, ada) == []
    assert claim(registry, second) is None, "nothing is asked a fourth time"


def test_a_third_run_that_fails_too_decides_as_well(registry, ada, workers):
    first, second, _ = workers
    enrolled(registry, first, second)
    judged(registry, ada, first, **FAILED)
    judged(registry, ada, first)
    third = claim(registry, second)

    complete_run(registry, second, third.run, report(third, **FAILED))

    assert [rule for rule, _ in unmet(registry, ada)] == ["failed"]


def test_of_three_workers_the_one_is_asked_who_has_said_nothing(registry, ada, workers):
    first, second, third = workers
    enrolled(registry, *workers)
    judged(registry, ada, first, **FAILED)
    judged(registry, ada, second)

    assert [claim(registry, first), claim(registry, second)] == [None, None]
    assert claim(registry, third) is not None


def test_the_same_worker_passing_twice_settles_nothing(registry, ada, workers):
    judged(registry, ada, workers[0], **FAILED)
    judged(registry, ada, workers[0])
    judged(registry, ada, workers[0])

    assert [rule for rule, _ in unmet(registry, ada)] == ["inconclusive"]
    queued = [row.dedup_key for row in rows.rows(registry.engine, t.runs) if row.state == "queued"]
    assert queued == [], "nobody else is enrolled, so nothing waits for them"


def test_a_failure_after_a_pass_stands(registry, ada, workers):
    enrolled(registry, *workers)
    judged(registry, ada, workers[0])
    judged(registry, ada, workers[1], **FAILED)

    assert [rule for rule, _ in unmet(registry, ada)] == ["failed"]
    assert [claim(registry, worker) for worker in workers] == [None, None, None]
