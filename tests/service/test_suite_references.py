"""What a suite compares with beside the promoted version, as runs are told of it: two databases."""

from types import SimpleNamespace

import pytest

from deltareg.errors import Forbidden, Inconclusive, InvalidInput
from deltareg.gate.verifier import VERIFIER
from deltareg.wire import CheckResult, Comparison, LeaseRequest, VerdictReport

SUITE = """\
name: kept
sets: {{texts: {{text: [{texts}]}}}}
checks:
  - effect
  - check: perplexity
    probes: texts
    against: promoted
    reference: {reference}
    threshold: {{min_relative_change: -0.1, greater_is_better: false}}
"""
TEXTS = ", ".join(f"text {n}" for n in range(20))
VERSIONS = ("lora", "lora_v2", "lora_qv")


@pytest.fixture
def client(registry_server):
    return registry_server.line(*VERSIONS)


@pytest.fixture
def judge(registry_server, client, tmp_path):
    """Queue a version's verification, judge it with a perplexity, and give what was granted."""
    worker = registry_server.client(("read", "verify"), principal="judge", kind="wrk")

    def suite(reference):
        path = tmp_path / "kept.yaml"
        path.write_text(SUITE.format(texts=TEXTS, reference=reference))
        admin = registry_server.client(("read", "admin"), principal="suites")
        return admin.suites.push(path)

    def run(version, value=10.0, *, verdict="pass", **more):
        asked = client.verify(f"team/lora:v{version}", suite="kept", again=True)
        grant = worker.lease(LeaseRequest(worker="w1", run=asked.id))
        assert grant is not None
        checks = [
            CheckResult(name="effect", verdict="pass"),
            CheckResult(name="perplexity", value=value, **{"verdict": verdict, **more}),
        ]
        found = VerdictReport(
            fence=grant.fence,
            verdict=verdict if verdict == "fail" else "pass",
            verifier=VERIFIER,
            suite_digest=grant.suite_digest,
            dtype="float32",
            seed=0,
            base_evidence="exact",
            base_identity=grant.base.identity,
            checks=checks,
            environment={"device": "cpu"},
            sandbox="none",
            storage_revision=grant.storage_revision,
        )
        worker.complete_run(grant.run, found)
        return grant

    return SimpleNamespace(suite=suite, run=run)


def test_a_named_version_is_granted_with_its_digest(client, judge):
    judge.suite("team/lora:v1")

    grant = judge.run(3)

    named = grant.references["team/lora:v1"]
    assert (named.ref, named.digest) == ("team/lora:v1", client.show("team/lora:v1").digest)


def test_the_named_version_itself_and_one_that_is_gone_say_why(client, judge):
    judge.suite("team/lora:v3")
    itself = judge.run(3).references["team/lora:v3"]
    judge.suite("team/lora:v1")
    client.versions.delete("team/lora:v1")
    gone = judge.run(3).references["team/lora:v1"]

    assert (itself.ref, gone.ref) == ("", "")
    assert itself.why == "team/lora:v3 is this version itself"
    assert gone.why.startswith("there is no team/lora:v1")


@pytest.mark.parametrize("reference", ["team/lora:v9", "other/lora:v1"])
def test_a_suite_that_names_a_version_which_is_not_there_is_refused(judge, reference):
    with pytest.raises(InvalidInput, match=f"there is no {reference} to compare with") as refused:
        judge.suite(reference)

    assert refused.value.fix == "push that version first, or write `reference: best`"


def test_the_best_of_the_last_few_is_the_one_that_measured_best(judge):
    judge.suite("best of 2")
    nothing = judge.run(1, 12.0).references["best of 2 by perplexity"]
    only = judge.run(2, 15.0).references["best of 2 by perplexity"]

    best = judge.run(3, 11.0).references["best of 2 by perplexity"]

    assert "none of the last" in nothing.why
    assert only.ref == "team/lora:v1"
    assert best.ref == "team/lora:v1"  # less is better, and v2 came after it


def test_a_version_that_failed_is_the_best_of_nothing(judge):
    judge.suite("best of 2")
    judge.run(1, 5.0, verdict="fail", code="regression")
    judge.run(2, 15.0)

    assert judge.run(3).references["best of 2 by perplexity"].ref == "team/lora:v2"


def test_a_comparison_is_shown_as_it_was_signed(client, judge):
    judge.suite("team/lora:v1")
    compared = Comparison(
        against="promoted",
        other="team/lora:v2",
        decision="undecided",
        low=9.0,
        high=12.5,
        confidence=0.95,
        margin=1.0,
        n=20,
        needs=80,
    )
    judge.run(3, verdict="warn", code="undecided", comparison=compared)

    verdict = client.verdicts.list("team/lora:v3", limit=1).items[0]

    assert verdict.checks[1].comparison == compared


COMPARED = Comparison(
    against="promoted", decision="undecided", low=9.0, high=12.5, confidence=0.95, margin=1.0, n=20, needs=80
)


@pytest.fixture
def asking(client, judge):
    """Have channels ask for the suite, one of them protected, and v3 judged undecided."""
    judge.suite("team/lora:v1")
    for name, more in (("open", {}), ("safe", {"protected": True})):
        client.channels.create("team/lora", name)
        client.channels.set_policy("team/lora", name, {"suites": ["kept"], **more}, reason="customers")
    judge.run(3, verdict="warn", code="undecided", comparison=COMPARED)
    return client


@pytest.mark.parametrize("channel", ["open", "safe"])
@pytest.mark.parametrize("against", ["base", "promoted"])
def test_an_undecided_comparison_keeps_a_version_off_every_channel_that_asks(asking, judge, channel, against):
    judge.run(3, verdict="warn", code="undecided", comparison=COMPARED.model_copy(update={"against": against}))

    (unmet,) = asking.gate("team/lora:v3", channel, accept_warnings=True).unmet
    with pytest.raises(Inconclusive, match="is undecided"):
        asking.promote("team/lora:v3", channel, reason="new", accept_warnings=True)

    assert unmet.rule == "undecided"
    assert "[9, 12.5] holds" in unmet.message
    assert "about 80 would decide it" in unmet.message


def test_who_accepts_what_is_undecided_gives_a_reason_and_it_is_a_waiver_everywhere(asking):
    dry = asking.gate("team/lora:v3", "open", accept_undecided=True)
    with pytest.raises(InvalidInput, match="takes a reason"):
        asking.promote("team/lora:v3", "open", accept_undecided=True)

    move = asking.promote("team/lora:v3", "open", reason="more rows next week", accept_undecided=True)

    assert dry.allowed
    assert move.accepted == ["kept/perplexity"]
    told = [rule.message for rule in asking.gate("team/lora:v3", "open").rules if rule.rule == "undecided"]
    assert "was accepted until" in told[0]
    assert "more rows next week" in told[0]
    (shown,) = asking.channels.show("team/lora", "open").waivers
    assert (shown.check, shown.reason, shown.channel, shown.stands) == (
        "perplexity",
        "more rows next week",
        "open",
        True,
    )
    waived = asking.audit.list(action="verdict.waive").items[0]
    assert (waived.after["check"], waived.after["undecided"]) == ("perplexity", True)
    assert asking.audit.list(action="channel.promote").items[0].after["accepted_warnings"] == ["kept/perplexity"]
    assert [rule.rule for rule in asking.gate("team/lora:v3", "safe", accept_warnings=True).unmet] == ["undecided"]


def test_on_a_protected_channel_somebody_else_accepts_it(asking, registry_server):
    asked = {"reason": "we know", "accept_warnings": True, "accept_undecided": True}
    bob = registry_server.client(("read", "promote"), principal="bob")

    with pytest.raises(Forbidden, match="cannot waive"):
        asking.promote("team/lora:v3", "safe", **asked)
    assert asking.channels.show("team/lora", "safe").waivers == []  # the move took it back with it
    assert bob.promote("team/lora:v3", "safe", **asked).accepted == ["kept/perplexity"]


def test_an_undecided_check_is_waived_by_hand_as_well(asking, registry_server):
    bob = registry_server.client(("read", "promote"), principal="bob")
    verdict = asking.verdicts.list("team/lora:v3", limit=1).items[0]

    bob.verdicts.waive(verdict.id, "perplexity", channel="open", reason="rows are dear")

    assert asking.gate("team/lora:v3", "open").allowed
    bob.verdicts.unwaive(verdict.id, "perplexity")
    assert not asking.gate("team/lora:v3", "open").allowed
