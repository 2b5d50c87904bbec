"""What a suite compares with beside the promoted version, as runs are told of it: two databases."""

from types import SimpleNamespace

import pytest

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


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("team/lora:v9", "there is no team/lora:v9"),
        ("other/lora:v1", "is not of namespace team"),
        ("team/lora:v3", "is this version itself"),
    ],
)
def test_a_version_that_cannot_be_compared_with_says_why(judge, reference, why):
    judge.suite(reference)

    named = judge.run(3).references[reference]

    assert not named.ref
    assert why in named.why


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


def test_an_undecided_comparison_keeps_a_version_off_a_protected_channel(client, judge):
    judge.suite("team/lora:v1")
    policy = {"suites": ["kept"], "protected": True}
    client.channels.create("team/lora", "safe")
    client.channels.set_policy("team/lora", "safe", policy, reason="customers")
    compared = Comparison(
        against="promoted", decision="undecided", low=9.0, high=12.5, confidence=0.95, margin=1.0, n=20, needs=80
    )
    judge.run(3, verdict="warn", code="undecided", comparison=compared)
    beside_base = compared.model_copy(update={"against": "base"})

    (unmet,) = client.gate("team/lora:v3", "safe", accept_warnings=True).unmet
    judge.run(3, verdict="warn", code="undecided", comparison=beside_base)
    accepted = client.gate("team/lora:v3", "safe", accept_warnings=True)

    assert unmet.rule == "undecided"
    assert "[9, 12.5] holds" in unmet.message
    assert "about 80 would decide it" in unmet.message
    assert accepted.allowed
