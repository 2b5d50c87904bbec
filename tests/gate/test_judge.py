"""The gate as a pure function: each rule violated alone is named alone, with what mends it."""

from dataclasses import replace
from functools import partial

import pytest

from deltareg.digest import sha256_of
from deltareg.errors import Blocked, GateFailed, GatePending, Inconclusive
from deltareg.gate.agreement import CheckFact
from deltareg.gate.judge import Candidate, Circumstances, deciding, is_in_window, judge, refusal
from deltareg.gate.policy import Policy, RollbackWindow, parse_policy, policy_digest
from deltareg.gate.required_suites import RequiredSuite
from deltareg.gate.ruling import RULE_ERRORS, Ruling
from deltareg.gate.signers import VerdictSigner
from deltareg.gate.verdict_facts import SuiteFact, VerdictConditions, VerdictFact, VerdictFindings
from deltareg.gate.verdict_rules import why_not
from deltareg.gate.verifier import VERIFIER

HOUR_US = 3600 * 1_000_000
NOW_US = 1_795_773_600 * 1_000_000  # 2026-11-27, a Friday, 10:00 UTC
MANIFEST, BASE = sha256_of(b"manifest"), sha256_of(b"base")
SUITE = SuiteFact(sha256_of(b"smoke"), seed=7, dtype="F32")
HERE = {"torch": "2.10.0", "device": "cpu", "threads": "2"}
POLICY = parse_policy(
    {
        "suites": [{"suite": "smoke", "max_age": "30d"}],
        "sandbox": ["network", "files"],
        "evidence": "golden",
        "kinds": ["lora", "ia3"],
        "bases": ["tiny"],
        "approvals": 1,
        "freeze": [{"from": "Fri 16:00", "to": "Mon 08:00", "zone": "UTC", "reason": "weekend"}],
        "environment": "strict",
    }
)
CANDIDATE = Candidate("me/x:v3", MANIFEST, BASE, base_name="tiny", kind="lora")
VERDICT = VerdictFact(
    id="0123456789",
    manifest=str(MANIFEST),
    base=str(BASE),
    suite="smoke",
    suite_digest=str(SUITE.digest),
    outcome="pass",
    created_us=NOW_US - 3 * HOUR_US,
    verifier=f"{VERIFIER} deltareg/1.0",
    seed=7,
    dtype="F32",
    policy_digest=str(policy_digest(POLICY)),
    evidence="exact",
    sandbox="session limits network files -calls",
    environment=HERE,
    signer=VerdictSigner(keyid="a" * 64, worker="gpu-1", host="rack-1"),
)
NOW = Circumstances(
    "prod",
    NOW_US,
    policy_digest=str(policy_digest(POLICY)),
    suites={"smoke": SUITE},
    environments=frozenset({"torch 2.10.0, device cpu"}),
    approvals=("bob",),
)
OTHER = str(sha256_of(b"other"))


def gate(candidate, policy, verdicts, *, now):
    return [r for r in judge(candidate, policy, verdicts, now=now) if not r.is_met]


def told(candidate=CANDIDATE, policy=POLICY, verdicts=(VERDICT,), now=NOW):
    return [ruling.rule for ruling in gate(candidate, policy, verdicts, now=now)]


def finding(**found):
    """Make what a verdict gives when it is looked into."""
    return lambda: VerdictFindings(**found)


UNDECIDED = replace(
    VERDICT,
    policy_digest="",
    look=finding(
        warned=("not_worse", "library_agrees"),
        undecided={"not_worse": "[0.8, 0.9] holds 0.87, n = 40; about 900 would decide it"},
    ),
)


@pytest.mark.parametrize("independent", [1, 2])
def test_of_many_passes_the_newest_alone_is_looked_into(independent):
    looked = []

    def look_at(number):
        looked.append(number)
        return VerdictFindings(checks={"effect": CheckFact("pass", 0.2, 0.1)})

    passes = [replace(VERDICT, id=f"{n:010}", look=partial(look_at, n)) for n in range(400)]
    told(policy=replace(POLICY, independent=independent), verdicts=passes)
    deciding(CANDIDATE, POLICY, passes, now=NOW)
    assert set(looked) == {0}


@pytest.mark.parametrize("is_protected", [True, False])
def test_a_required_comparison_has_to_be_decided_whoever_accepts_its_warning(is_protected):
    policy = replace(POLICY, is_protected=is_protected)
    asked = replace(NOW, suites={"smoke": replace(SUITE, decisive=frozenset({"not_worse"}))})
    accepting = replace(asked, accepted=frozenset({"smoke/not_worse", "smoke/library_agrees"}))

    unmet = gate(CANDIDATE, policy, [UNDECIDED], now=accepting)

    assert [ruling.rule for ruling in unmet] == ["undecided"]
    assert "not_worse is undecided: [0.8, 0.9] holds 0.87, n = 40" in unmet[0].message
    assert unmet[0].fix.startswith("deltareg suite push FILE")
    assert "--accept-undecided -m REASON" in unmet[0].fix
    assert unmet[0].undecided == (VERDICT.id, "not_worse")
    assert isinstance(refusal(unmet), Inconclusive)


def test_somebody_may_answer_for_what_is_undecided_and_that_is_told():
    asked = replace(NOW, suites={"smoke": replace(SUITE, decisive=frozenset({"not_worse"}))})
    waived = replace(UNDECIDED, waived={"not_worse": "until 2026-12-01 by ada: more rows next week"})

    rulings = judge(CANDIDATE, POLICY, [waived], now=asked)

    assert all(ruling.is_met for ruling in rulings)
    told_of = next(ruling for ruling in rulings if ruling.rule == "undecided")
    assert "was accepted until 2026-12-01 by ada: more rows next week" in told_of.message
    assert told_of.warnings == ("smoke/not_worse",)


def test_a_comparison_that_only_warns_need_not_be_decided():
    accepting = replace(NOW, accepted=frozenset({"smoke/not_worse", "smoke/library_agrees"}))

    assert told(verdicts=[UNDECIDED]) == []
    assert told(policy=replace(POLICY, is_protected=True), verdicts=[UNDECIDED]) == ["warnings"]
    assert told(policy=replace(POLICY, is_protected=True), verdicts=[UNDECIDED], now=accepting) == []


@pytest.mark.parametrize(
    ("fixed", "channel", "unmet"),
    [(None, "prod", True), (None, "dev", False), (True, "dev", True), (False, "prod", False)],
)
def test_prod_asks_for_a_reference_that_stays_unless_its_policy_says_otherwise(fixed, channel, unmet):
    policy = replace(POLICY, fixed_reference=fixed)
    verdict = replace(VERDICT, policy_digest="", compared_with=OTHER)
    drifting = replace(SUITE, needs_promoted=True, drifting=("kept",))
    held = replace(SUITE, needs_promoted=True)

    for suite, is_unmet in ((drifting, unmet), (held, False), (SUITE, False)):
        now = replace(NOW, channel=channel, suites={"smoke": suite}, incumbent=OTHER)
        assert told(policy=policy, verdicts=[verdict], now=now) == (["drift"] if is_unmet else [])


def test_a_verdict_counts_only_beside_the_best_that_the_channel_has_now():
    suite = replace(SUITE, needs_promoted=True, is_held_to_best=True)
    now = replace(NOW, suites={"smoke": suite}, incumbent=OTHER, bests={"smoke": {"best by kept": "sha256:new"}})
    verdict = replace(VERDICT, compared_with=OTHER)

    assert told(verdicts=[replace(verdict, held_against={"best by kept": "sha256:new"})], now=now) == []
    assert told(verdicts=[replace(verdict, held_against={"best by kept": "sha256:old"})], now=now) == ["incumbent"]
    assert told(verdicts=[verdict], now=now) == ["incumbent"]


def test_a_pass_of_before_with_nothing_to_compare_with_is_inconclusive():
    verdict = replace(VERDICT, look=finding(checks={"kept": CheckFact("n/a"), "spectral": CheckFact("n/a")}))
    now = replace(NOW, suites={"smoke": replace(SUITE, required={"kept": False, "spectral": True})})

    (unmet,) = gate(CANDIDATE, POLICY, [verdict], now=now)

    assert (unmet.rule, "kept had nothing to compare with" in unmet.message) == ("inconclusive", True)


def test_a_version_that_meets_every_rule_may_go():
    assert told() == []
    assert [ruling.rule for ruling in judge(CANDIDATE, POLICY, [VERDICT], now=NOW)] == [
        "deleted",
        "revoked",
        "quarantined",
        "frozen",
        "kind",
        "base",
        "verdict",
        "stale",
        "sandbox",
        "evidence",
        "proven",
        "approvals",
    ]


@pytest.mark.parametrize(
    ("rule", "change", "fix"),
    [
        ("deleted", {"is_deleted": True}, "push it again"),
        ("revoked", {"revoked": "revoked by ada"}, "deltareg unrevoke me/x:v3"),
        ("revoked", {"revoked_below": "stands on me/y:v1, revoked"}, "another base"),
        ("quarantined", {"is_quarantined": True}, "deltareg channel clear me/x prod v3"),
        ("proven", {"proof": "claimed"}, "deltareg prove me/x:v3 --wait"),
        ("corrupt", {"proof": "corrupt"}, "deltareg push PATH me/x"),
        ("corrupt", {"corrupt_below": "stands on base b, which is corrupt", "corrupt_fix": "heal"}, "heal"),
        ("kind", {"kind": "full"}, "deltareg channel policy set me/x prod"),
        ("base", {"base_name": "huge"}, "deltareg channel policy set me/x prod"),
    ],
)
def test_a_rule_about_the_version_is_named_alone(rule, change, fix):
    (unmet,) = gate(replace(CANDIDATE, **change), POLICY, [VERDICT], now=NOW)

    assert unmet.rule == rule
    assert fix in unmet.fix


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("frozen", {"frozen": "prod was frozen by ada"}),
        ("frozen", {"now_us": NOW_US + 7 * HOUR_US}),
        ("missing", {"suites": {}}),
        ("approvals", {"approvals": ()}),
        ("environment", {"environments": frozenset({"torch 2.11.0, device cpu"})}),
        ("environment", {"environments": frozenset()}),
        ("policy", {"policy_digest": OTHER}),
        ("suite_changed", {"suites": {"smoke": replace(SUITE, digest=sha256_of(b"new"))}}),
        ("foreign", {"suites": {"smoke": replace(SUITE, seed=8)}}),
        ("foreign", {"suites": {"smoke": replace(SUITE, dtype="BF16")}}),
        ("stale", {"now_us": NOW_US + 31 * 24 * HOUR_US}),
    ],
)
def test_a_rule_about_the_moment_is_named_alone(rule, change):
    (unmet,) = gate(CANDIDATE, POLICY, [VERDICT], now=replace(NOW, **change))

    assert unmet.rule == rule
    assert unmet.fix


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("foreign", {"manifest": OTHER}),
        ("foreign", {"base": OTHER}),
        ("suite_changed", {"suite_digest": OTHER}),
        ("suite_changed", {"suite_digest": "garbage"}),
        ("foreign", {"seed": 8}),
        ("foreign", {"dtype": "BF16"}),
        ("verifier", {"verifier": "deltareg-verify/0 deltareg/1.0"}),
        ("verifier", {"verifier": ""}),
        ("verifier", {"verifier": f"{VERIFIER}1"}),
        ("policy", {"policy_digest": OTHER}),
        ("environment", {"environment": HERE | {"torch": "2.9.0"}}),
        ("environment", {"environment": HERE | {"device": "cuda:0"}}),
        ("environment", {"environment": HERE | {"driver": "580"}}),
        ("environment", {"environment": {}}),
        ("stale", {"created_us": NOW_US - 31 * 24 * HOUR_US}),
        ("sandbox", {"sandbox": "session limits network -files"}),
        ("sandbox", {"sandbox": ""}),
        ("evidence", {"evidence": "shapes"}),
        ("evidence", {"evidence": ""}),
        ("failed", {"outcome": "fail", "look": finding(failed=("effect",))}),
        ("failed", {"outcome": "fail"}),
        ("inconclusive", {"outcome": "inconclusive"}),
        ("inconclusive", {"outcome": "inconclusive", "verifier": "", "seed": 0}),
        ("missing", {"suite": "deep"}),
    ],
)
def test_a_mutated_verdict_does_not_let_a_version_pass(rule, change):
    (unmet,) = gate(CANDIDATE, POLICY, [replace(VERDICT, **change)], now=NOW)

    assert unmet.rule == rule
    assert unmet.suite == "smoke"
    assert "deltareg ver" in unmet.fix


def test_an_age_at_its_bound_still_counts():
    just = replace(VERDICT, created_us=NOW_US - 30 * 24 * HOUR_US)

    assert told(verdicts=[just]) == []


def test_what_differs_but_is_not_asked_is_no_hindrance():
    lax = Policy()
    now = replace(NOW, policy_digest=str(policy_digest(lax)), approvals=())
    odd = replace(VERDICT, policy_digest="", environment={}, sandbox="", evidence="declared")

    assert told(policy=lax, verdicts=[odd], now=now) == []
    assert told(replace(CANDIDATE, kind="full", base_name=""), lax, [odd], now) == []


def test_all_unmet_rules_are_told_and_the_gravest_is_the_refusal():
    bad = replace(CANDIDATE, kind="full", is_quarantined=True)
    failed = replace(VERDICT, outcome="fail", look=finding(failed=("effect",)))
    unmet = gate(bad, POLICY, [failed], now=replace(NOW, approvals=()))

    error = refusal(unmet)

    assert {u.rule for u in unmet} == {"quarantined", "kind", "failed", "approvals"}
    assert isinstance(error, Blocked)
    assert [problem.code for problem in error.problems] == ["quarantined", "kind", "failed", "approvals"]
    assert all(problem.fix for problem in error.problems)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["stale", "failed"], GateFailed),
        (["approvals", "inconclusive"], Inconclusive),
        (["sandbox"], GatePending),
        (["evidence", "base"], Blocked),
    ],
)
def test_a_refusal_is_the_error_of_its_gravest_rule(rules, expected):
    assert type(refusal([Ruling(rule, "why", "how") for rule in rules])) is expected
    assert set(RULE_ERRORS) >= set(rules)


def test_of_the_verdicts_that_count_the_newest_decides():
    newer = replace(VERDICT, outcome="fail", look=finding(failed=("effect",)))
    foreign = replace(VERDICT, manifest=OTHER)

    assert told(verdicts=[newer, VERDICT]) == ["failed"]
    assert told(verdicts=[VERDICT, newer]) == ["inconclusive"]
    assert told(verdicts=[foreign, VERDICT]) == []


def test_a_failure_is_not_forgotten_under_another_policy():
    failed = replace(VERDICT, outcome="fail", look=finding(failed=("effect",)), policy_digest=OTHER)

    assert told(verdicts=[failed, VERDICT]) == ["failed"]


def test_a_failed_check_that_is_waived_does_not_fail():
    failed = replace(VERDICT, outcome="fail", look=finding(failed=("library_agrees", "norm_ratio")))
    one = replace(failed, waived={"library_agrees": "until 2026-12-01 by ada: known"})
    both = replace(one, waived={**one.waived, "norm_ratio": "until 2026-12-01 by ada: too"})

    assert told(verdicts=[one]) == ["failed"]
    assert told(verdicts=[both]) == []
    (verdict,) = [r for r in judge(CANDIDATE, POLICY, [both], now=NOW) if r.rule == "verdict"]
    assert "pass with waivers" in verdict.message
    assert "library_agrees waived until 2026-12-01 by ada: known" in verdict.message


def test_every_suite_is_judged():
    policy = replace(POLICY, suites=(RequiredSuite("smoke"), RequiredSuite("deep")))
    now = replace(NOW, suites={"smoke": SUITE, "deep": SUITE})

    assert told(policy=policy, now=now) == ["missing"]


@pytest.mark.parametrize(
    ("behind", "days", "inside"), [(2, 99, True), (3, 99, False), (3, 1, True), (3, 1.01, False), (0, 0, True)]
)
def test_the_window_of_a_rollback_is_the_policys(behind, days, inside):
    window = RollbackWindow(revisions=2, days=1)

    assert is_in_window(behind=behind, age_s=days * 86_400, window=window) is inside


def test_a_suite_that_is_for_no_gate_opens_none_whatever_its_verdict():
    quick = replace(VERDICT, suite="fast")
    policy = replace(POLICY, suites=(RequiredSuite("fast"),))
    now = replace(NOW, suites={"fast": replace(SUITE, is_for_gates=False)})

    (unmet,) = gate(CANDIDATE, policy, [quick], now=now)

    assert (unmet.rule, unmet.suite) == ("missing", "fast")
    assert "counts for no channel" in unmet.message
    assert "policy set" in unmet.fix
    assert why_not(quick, CANDIDATE.subject, now.suites["fast"], bound=VerdictConditions()) is not None
