"""No line that is added to a suite makes a verdict easier: seeded suites through the real code.

A line is a check, a reference, or a condition of a threshold. Versions, what they are compared with
and the base answer with values that are drawn for each suite; some have no head, some give NaN, some
are not there. The order is that of what the gate then does: it takes the version, asks for its
warnings to be accepted, asks for more, or refuses it. Words that say of themselves that they ask for
less (`required: false`, `undecided:`, `worse:`, `n/a:`, `looks:`) are settings of a line.
"""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from deltareg.digest import sha256_of
from deltareg.gate.policy import Policy
from deltareg.gate.required_suites import RequiredSuite
from deltareg.gate.verdict_facts import VerdictConditions, VerdictSubject
from deltareg.gate.verdict_rules import rule_on_suite
from deltareg.gate.verifier import VERIFIER
from deltareg.service.verdicts.facts import fact_of, fact_of_suite
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import read_suite
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import in_order, judge
from tests.verify.bench import sample_bench
from tests.verify.plain_engine import PlainEngine

ROWS = 60
LABELS = np.arange(ROWS) % 2
SUBJECT = VerdictSubject("me/x:v3", sha256_of(b"manifest"), sha256_of(b"base"))
FIXED = ("finite", "norm_ratio", "effect", "golden")  # checks of stored values, whose finding is drawn
STATIC = {"finite", "norm_ratio"}
AGAINST = ("base", "promoted", "best", "best of 5", "me/x:v1")
TAKEN, WARNED, OPEN, REFUSED = range(4)


class Drawn(PlainEngine):
    """A side of a comparison: wrong answers and losses of its own, or none, or NaN."""

    def __init__(self, rng, *, base=None):
        super().__init__()
        self.hits = self._draw(rng, lambda: rng.random(ROWS) < rng.choice([0.0, 0.05, 0.1, 0.3]))
        self.nats = self._draw(rng, lambda: rng.normal(rng.choice([2.0, 2.02, 2.1, 2.5]), 0.05, ROWS))
        self.other = base

    @staticmethod
    def _draw(rng, values):
        kind = rng.choice(["values", "none", "nan"], p=[0.84, 0.1, 0.06])
        drawn = values()
        return {"values": drawn, "none": None, "nan": np.full(ROWS, np.nan)}[kind]

    def outputs_for(self, state, inputs):
        wrong = (self.other if state == "base" and self.other else self).hits
        if wrong is None:
            return {}
        rows = inputs["rows"]
        scores = np.eye(2, dtype=np.float32)[np.where(wrong[rows] > 0, 1 - LABELS[rows], LABELS[rows])]
        return {"logits": scores * np.nan if np.isnan(wrong.astype(float)).any() else scores}

    def losses(self, state, texts):
        nats = (self.other if state == "base" and self.other else self).nats
        if nats is None:
            return None
        return np.stack([10 * nats[[int(text) for text in texts]], np.full(len(texts), 10.0)], 1)


def draw_check(rng, number):
    """Draw a line of a suite: a check of stored values, or a measure with or without a threshold."""
    if rng.random() < 0.3:
        return {"check": str(rng.choice(FIXED)), "name": f"c{number}", "required": bool(rng.random() < 0.8)}
    check = str(rng.choice(["accuracy", "perplexity"]))
    line = {
        "check": check,
        "name": f"c{number}",
        "probes": "rows" if check == "accuracy" else "texts",
        "required": bool(rng.random() < 0.8),
        "against": str(rng.choice(AGAINST, p=[0.2, 0.5, 0.1, 0.1, 0.1])),
        "parameters": {
            "undecided": str(rng.choice(["warn", "fail", "estimate"])),
            "worse": str(rng.choice(["warn", "fail"], p=[0.2, 0.8])),
            "missing": str(rng.choice(["n/a", "fail"], p=[0.2, 0.8])),
        },
        "threshold": draw_conditions(rng, check),
    }
    if rng.random() < 0.3:
        line["n/a"] = "drawn at random"
    if not line["threshold"]:
        del line["threshold"]
    elif check == "perplexity":
        line["threshold"]["greater_is_better"] = False
    return with_reference(rng, line) if rng.random() < 0.4 else line


def draw_conditions(rng, check):
    drawn = {
        "threshold": float(rng.choice([0.5, 0.9, 1.0]) if check == "accuracy" else rng.choice([5.0, 7.5, 9.0])),
        "min_absolute_change": float(rng.choice([-0.3, -0.05, 0.0, 0.1])),
        "min_relative_change": float(rng.choice([-0.3, -0.05, 0.0, 0.1])),
    }
    return {name: value for name, value in drawn.items() if rng.random() < 0.45}


def with_reference(rng, line):
    """Add a reference to a line that may have one."""
    changes = {"min_absolute_change", "min_relative_change"} & line.get("threshold", {}).keys()
    if line.get("against") != "promoted" or not changes or "reference" in line:
        return line
    return {**line, "reference": str(rng.choice(["base", "best", "best of 5", "me/x:v1"]))}


def with_condition(rng, line):
    """Add a condition to the threshold of a measure; the first one makes it a threshold."""
    if "probes" not in line:
        return line
    more = draw_conditions(rng, line["check"])
    own = line.get("threshold", {})
    added = {name: value for name, value in more.items() if name not in own}
    direction = {"greater_is_better": False} if line["check"] == "perplexity" and (own or added) else {}
    threshold = {**added, **own, **direction}
    return {**line, "threshold": threshold} if threshold else line


def with_a_line(rng, lines):
    """Add one line to a suite, wherever it may stand."""
    may_have_one = [at for at, line in enumerate(lines) if with_reference(np.random.default_rng(0), line) != line]
    change = rng.choice(["check", "reference", "condition"], p=[0.25, 0.5, 0.25])
    at = int(rng.choice(may_have_one if change == "reference" and may_have_one else len(lines)))
    if change == "check":
        at = int(rng.integers(len(lines) + 1))
        return [*lines[:at], draw_check(rng, len(lines)), *lines[at:]]
    changed = with_reference(rng, lines[at]) if change == "reference" else with_condition(rng, lines[at])
    return [*lines[:at], changed, *lines[at + 1 :]]


def suite_with(lines):
    sets = {"rows": {"file": "rows.jsonl"}, "texts": {"file": "texts.txt"}}
    document = {"name": "drawn", "seed": 3, "sets": sets, "checks": lines}
    return read_suite(str(document).replace("True", "true").replace("False", "false").encode())


@pytest.fixture(scope="module")
def bench(cache_dir):
    return sample_bench("tinyllama/lora_qv", cache_dir)


@pytest.fixture
def judged(bench):
    """Judge a drawn version by a suite, and let the gate of each kind of channel rule on it."""

    def run(lines, sides, fixed):
        suite = suite_with(lines)
        promoted, references, names = sides.promoted, sides.references, sides.names
        samples = {
            "rows": Samples(arrays={"rows": np.arange(ROWS)}, labels=LABELS),
            "texts": Samples(tuple(map(str, range(ROWS)))),
        }
        keyed = {key: references[name] for key, (_, name) in suite.references.items() if name in references}
        told = {key: names[name] for key, (_, name) in suite.references.items() if name in names}
        case = bench.case(
            engine=lambda _: sides.ours,
            samples=lambda one: samples[one.name],
            promoted=None if promoted is None else lambda _: promoted,
            references={key: (lambda _, other=other: other) for key, other in keyed.items()},
            names=told | ({} if promoted is None else {"promoted": "me/x:v2"}),
        )
        case.suite = replace(case.suite, sets=suite.sets, checks=suite.checks, seed=suite.seed)
        checks = {**all_checks(), **{name: drawn_check(name, fixed) for name in FIXED}}
        results = in_order(suite, list(examine(case, checks=checks)))
        return suite, results, [ruled(suite, results, is_protected=kind) for kind in (False, True)]

    return run


def drawn_check(name, fixed):
    form = all_checks()[name].form
    return Check(name, lambda _case, spec: fixed[spec.name], form, is_static=name in STATIC)


def ruled(suite, results, *, is_protected):
    """Give what a gate does with a verdict, as a rank."""
    row = SimpleNamespace(
        id="0123456789",
        manifest_digest=str(SUBJECT.manifest),
        base_root=str(SUBJECT.base),
        suite=suite.name,
        suite_digest=str(suite.digest),
        verdict=judge(suite, results),
        checks=[one.to_dict() for one in results],
        created_at=0,
        verifier=f"{VERIFIER} deltareg/1.0",
        seed=suite.seed,
        dtype="",
        policy_digest="",
        base_evidence="exact",
        sandbox="",
        environment={},
        is_complete=False,
        compared_with="",
        continues="",
        continuation="",
        base_identity="",
        keyid="a" * 64,
        signer="gpu-1",
        host="here",
        worker_labels={},
        key_revoked_at=0,
        key_reason="",
        disputed="",
    )
    policy = Policy(suites=(RequiredSuite(suite.name),), is_protected=is_protected)
    rulings = rule_on_suite(
        SUBJECT,
        policy.suites[0],
        policy,
        [fact_of(cast("Any", row), {})],
        suite=fact_of_suite(suite),
        bound=VerdictConditions(accepted=frozenset() if is_protected else None),
        now_us=0,
    )
    unmet = {ruling.rule for ruling in rulings if not ruling.is_met}
    assert unmet <= {"failed", "inconclusive", "undecided", "warnings"}
    if "failed" in unmet:
        return REFUSED
    if unmet & {"inconclusive", "undecided"}:
        return OPEN
    return WARNED if unmet else TAKEN


def draw_sides(rng):
    base = Drawn(rng)
    there = {"best": "me/x:v1", "best of 5": "me/x:v1", "me/x:v1": "me/x:v1"}
    references = {name: Drawn(rng, base=base) for name in there if rng.random() < 0.6}
    reasons = {"me/x:v1": rng.choice(["there is no me/x:v1", "me/x:v1 is this version itself"])}
    absent = {name: str(reasons.get(name, f"nothing is {name} yet")) for name in there if name not in references}
    return SimpleNamespace(
        ours=Drawn(rng, base=base),
        promoted=Drawn(rng, base=base) if rng.random() < 0.7 else None,
        references=references,
        names={**{name: f"{there[name]} ({name})" for name in references}, **absent},
    )


def draw_findings(rng, count):
    """Draw what checks of stored values find, by the name of their line."""
    outcomes = ["pass", "warn", "fail", "n/a", "skipped"]
    drawn = rng.choice(outcomes, size=count, p=[0.7, 0.1, 0.07, 0.08, 0.05])
    return {f"c{number}": Finding(cast("Any", str(verdict))) for number, verdict in enumerate(drawn)}


def check_lines(judged, seeds):
    """Judge suites with and without a line; give how many ended as what, for those that look."""
    ends: Counter[object] = Counter()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        lines = [{"check": "effect", "name": "c0"}]
        lines += [draw_check(rng, number) for number in range(1, int(rng.integers(2, 5)))]
        more = with_a_line(rng, lines)
        sides, fixed = draw_sides(rng), draw_findings(rng, len(lines) + 1)
        fixed["c0"] = Finding("pass")
        _, before, ranks = judged(lines, sides, fixed)
        suite, after, harder = judged(more, sides, fixed)
        ends.update([(ranks[1], harder[1])])
        told = [(one.name, one.verdict, one.code, one.detail) for one in (*before, *after)]
        assert ranks[0] <= harder[0], (seed, more, told)
        assert ranks[1] <= harder[1], (seed, more, told)
        assert [one.name for one in after] == [spec.name for spec in suite.checks]
    return ends


def test_no_line_makes_a_verdict_easier(judged):
    ends = check_lines(judged, range(120))

    assert {before for before, _ in ends} == {TAKEN, WARNED, OPEN, REFUSED}  # all four were tried
    assert sum(count for (before, after), count in ends.items() if after > before) > 3


def test_a_reference_does_not_make_up_for_a_promoted_version_without_a_number(judged):
    assert check_lines(judged, [4196, 4783]) == {(OPEN, OPEN): 2}  # found among the five thousand


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_line_makes_a_verdict_easier_in_five_thousand_suites(judged):
    ends = check_lines(judged, range(1_000, 6_000))

    assert sum(ends.values()) == 5_000
