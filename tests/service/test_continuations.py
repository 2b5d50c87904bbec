"""After a waiver what was skipped runs, and only its verdict with the waiver opens the gate."""

import pytest

from deltareg.errors import Conflict, GateFailed, Inconclusive, InvalidInput
from deltareg.suites.suite import built_in
from deltareg.wire import LeaseRequest, RunFailure
from tests.fixtures.registries import report

NAMES = [spec.name for spec in built_in("smoke").checks]
FIRST = "norm_ratio"  # a static check: what comes after it is not run once it has failed


class Judged:
    """A version whose verification was cut off by a check that somebody may answer for."""

    def __init__(self, server):
        self.server = server
        server.line("lora").verify("team/lora:v1", again=True)
        self.bob = server.client(("read", "promote", "push", "admin"), principal="bob")
        self.worker = server.client(("read", "verify"), principal="worker", kind="wrk")
        self.cut = self.work({FIRST: "fail"})

    def work(self, found, *, is_cut=True):
        """Carry out the next run; behind a static check that fails and is not waived all is cut."""
        grant = self.worker.lease(LeaseRequest(worker="scripted"))
        told = report(grant, verdict="fail" if "fail" in found.values() else "pass")
        ended, checks = "", []
        for check in told.checks:
            outcome = "skipped" if ended else found.get(check.name, "pass")
            checks.append(check.model_copy(update={"verdict": outcome}))
            if outcome == "fail" and check.name not in grant.waived and is_cut:
                ended = check.name
        self.granted = grant
        return self.worker.complete_run(grant.run, told.model_copy(update={"checks": checks}))

    def waive(self, verdict=None, check=FIRST, channel="dev"):
        verdict = verdict or self.cut
        return self.bob.verdicts.waive(verdict.id, check, channel=channel, reason="known")

    def unmet(self, channel="dev"):
        return [rule.rule for rule in self.bob.gate("team/lora:v1", channel).unmet]


@pytest.fixture
def judged(registry_server):
    return Judged(registry_server)


def test_a_waiver_alone_opens_no_gate_and_its_continuation_does(judged):
    waived = judged.waive()

    assert judged.unmet() == ["inconclusive"]
    (rule,) = judged.bob.gate("team/lora:v1", "dev").unmet
    assert "golden" in rule.message
    assert waived.continuation in rule.fix
    with pytest.raises(Inconclusive):
        judged.bob.promote("team/lora:v1", "dev")

    found = judged.work({FIRST: "fail"})

    assert (judged.granted.run, judged.granted.waived) == (waived.continuation, [FIRST])
    assert found.continues == judged.cut.id
    assert found.is_complete
    (carried,) = judged.bob.verdicts.show(found.id).waivers
    assert (carried.check, carried.channel, carried.created_by) == (FIRST, "dev", "bob")
    assert carried.carried_from == waived.waivers[0].id
    assert carried.expires_at == waived.waivers[0].expires_at
    assert (judged.unmet("dev"), judged.unmet("prod")) == ([], ["failed"])
    assert judged.bob.promote("team/lora:v1", "dev").version == 1


def test_what_fails_behind_a_waived_check_fails(judged):
    judged.waive()

    found = judged.work({FIRST: "fail", "idle": "fail"})

    assert judged.unmet() == ["failed"]
    with pytest.raises(InvalidInput, match="idle is never waived"):
        judged.waive(found, "idle")
    with pytest.raises(GateFailed):
        judged.bob.promote("team/lora:v1", "dev")


def test_each_check_is_answered_for_by_itself(judged):
    judged.waive()
    found = judged.work({FIRST: "fail", "spectral": "fail"})
    assert judged.unmet() == ["failed"]

    judged.waive(found, "spectral")
    last = judged.work({FIRST: "fail", "spectral": "fail"})

    assert judged.granted.waived == [FIRST, "spectral"]
    assert last.continues == found.id
    assert judged.unmet() == []
    judged.bob.verdicts.unwaive(judged.cut.id, FIRST)
    assert judged.unmet() == ["failed"]  # it was carried over twice, and has ended there as well


def test_a_check_that_fails_in_a_whole_verdict_needs_no_other(judged):
    judged.bob.verify("team/lora:v1", again=True)
    found = judged.work({"library_agrees": "fail"}, is_cut=False)

    waived = judged.waive(found, "library_agrees")

    assert (waived.continuation, judged.unmet()) == ("", [])
    with pytest.raises(Conflict, match="left nothing out"):
        judged.bob.verdicts.continue_(found.id)


def test_a_worker_that_skips_again_opens_nothing(judged):
    judged.waive()

    judged.work({FIRST: "fail", "golden": "skipped"})

    (rule,) = judged.bob.gate("team/lora:v1", "dev").unmet
    assert (rule.rule, "golden" in rule.message) == ("inconclusive", True)


def test_a_waiver_that_ended_meanwhile_is_not_carried_over(judged):
    judged.waive()
    judged.bob.verdicts.unwaive(judged.cut.id, FIRST)

    found = judged.work({FIRST: "fail"})

    assert found.waivers == []
    assert judged.unmet() == ["failed"]


def test_a_continuation_that_was_cancelled_is_queued_again(judged):
    waived = judged.waive()
    judged.bob.runs.cancel(waived.continuation)
    (rule,) = judged.bob.gate("team/lora:v1", "dev").unmet
    assert rule.fix == f"deltareg verdict continue {judged.cut.id} --wait"

    again = judged.bob.verdicts.continue_(judged.cut.id)
    joined = judged.bob.verdicts.continue_(judged.cut.id)
    judged.work({FIRST: "fail"})

    assert (again.id != waived.continuation, joined.id) == (True, again.id)
    assert judged.unmet() == []


def test_one_that_came_to_nothing_says_how_to_go_on(judged):
    judged.waive()
    for _ in range(3):
        grant = judged.worker.lease(LeaseRequest(worker="scripted"))
        judged.worker.fail_run(grant.run, RunFailure(fence=grant.fence, error="no memory"))

    (rule,) = judged.bob.gate("team/lora:v1", "dev").unmet

    assert rule.rule == "inconclusive"
    assert rule.fix == f"deltareg verdict continue {judged.cut.id} --wait"


def test_nobody_continues_what_nobody_answers_for(judged):
    with pytest.raises(Conflict, match="nobody answers for it") as refused:
        judged.bob.verdicts.continue_(judged.cut.id)

    assert f"deltareg verdict waive {judged.cut.id} --check {FIRST}" in refused.value.fix


def test_a_second_waiver_joins_the_run_of_the_first(judged):
    first = judged.waive(channel="dev")
    second = judged.waive(channel="prod")

    judged.work({FIRST: "fail"})

    assert first.continuation == second.continuation
    assert (judged.unmet("dev"), judged.unmet("prod")) == ([], [])
