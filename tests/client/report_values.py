"""Reports made of values, plain and hostile, and the schema that JUnit files are held against."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lxml import etree

from deltareg.client.report_files.facts import GateReport, MetricHistory, MetricPoint, ReportComparison, SuiteOutcome
from deltareg.client.results.diff_report import DiffReport
from deltareg.delta.compare import TensorChanges, WeightDifference
from deltareg.wire import BaseInfo, BaseName, CheckResult, GateAnswer, RunInfo, UnmetRule, VerdictInfo, VersionDetail

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
HOSTILE = (
    "a|b `c` ``d`` ]]> <script>alert(1)</script> <!-- x --> --> & \" ' @ada #12 "
    "\u202egnp.exe\u202c \x00\x01\x1b[31m\x7f\ufffe\ud800 [l](http://evil.example) ![i](x) "
    "www.evil.example\r\n# h\t*b*"
)
HUGE = "x" * 1_000_000
SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).with_name("junit.xsd"))))


def junit(text):
    """Read a JUnit file that must be valid; gives its root."""
    root = etree.fromstring(text.encode())
    SCHEMA.assertValid(root)
    return root


def version(number=3, **fields):
    """Make a version of me/chat."""
    given = {
        "ref": f"me/chat:v{number}",
        "namespace": "me",
        "name": "chat",
        "version": number,
        "digest": f"sha256:{number:064x}",
        "kind": "lora",
        "variant": "",
        "foldable": True,
        "base": BaseName(name="tiny", root="blake3:" + "cd" * 32),
        "message": "",
        "semver": None,
        "labels": {},
        "logical_bytes": 4000,
        "stored_bytes": 2000,
        "uploaded_bytes": 2000,
        "created_at": "2026-02-03T04:00:00Z",
        "created_by": "ada",
        "parents": [],
        "source": "peft",
        "config": {},
        "tensors": 4,
        "modules": 2,
        "files": [],
    }
    return VersionDetail.model_validate(given | fields)


def verdict(outcome="pass", *checks, **fields):
    """Make a verdict of suite smoke."""
    given = {
        "id": "11111111-2222-3333-4444-555555555555",
        "run": "run",
        "ref": "me/chat:v3",
        "digest": DIGEST,
        "base_root": DIGEST,
        "suite": "smoke",
        "suite_digest": DIGEST,
        "verifier": "deltareg-verify/1",
        "verdict": outcome,
        "counts": True,
        "dtype": "F32",
        "seed": 7,
        "base_evidence": "exact",
        "checks": list(checks),
        "environment": {"torch": "2.13"},
        "sandbox": "network files",
        "created_at": "2026-02-03T04:00:00Z",
        "created_by": "worker",
    }
    return VerdictInfo.model_validate(given | fields)


def run(state="dead", **fields):
    """Make a run that has no verdict."""
    given = {
        "id": "run",
        "what": "verify",
        "ref": "me/chat:v3",
        "suite": "smoke",
        "state": state,
        "attempt": 3,
        "worker": None,
        "error": None,
        "created_at": "2026-02-03T04:00:00Z",
        "started_at": None,
        "finished_at": None,
    }
    return RunInfo.model_validate(given | fields)


def check(name="effect", outcome="pass", **fields):
    """Make a result of a check."""
    return CheckResult.model_validate({"name": name, "verdict": outcome, "seconds": 0.25} | fields)


def answer(*rules, channel="prod"):
    """Make a gate's answer with unmet rules, each a name, or name, message and fix."""
    told = [rule if isinstance(rule, tuple) else (rule, "it is so", "do this") for rule in rules]
    unmet = [UnmetRule(rule=name, message=text, fix=fix) for name, text, fix in told]
    return GateAnswer(ref="me/chat:v3", channel=channel, allowed=not unmet, unmet=unmet)


def weights(layers=4, *, prefix="model.layers", more=()):
    """Make differences of the weights of a network."""
    found = [
        WeightDifference(f"{prefix}.{n}.{m}.weight", 0.1 * (n + 1), 0.9, 1.0, 1.1 + n, 4, 8)
        for n in range(layers)
        for m in ("mlp.up_proj", "self_attn.q_proj")
    ]
    return [*found, *more]


def diff(modules=None, **fields):
    """Make a comparison of v1 with v3."""
    changes = TensorChanges((), (), ("a", "b"), 2)
    made = DiffReport(version(1), version(3), (), (), changes, weights() if modules is None else modules)
    return replace(made, **fields)


def base(size_bytes=1_000_000):
    """Make the base."""
    return BaseInfo(
        name="tiny",
        root="blake3:" + "cd" * 32,
        manifest_digest=DIGEST,
        model_type="llama",
        is_stored=True,
        location=None,
        tensors=9,
        logical_bytes=size_bytes,
        stored_bytes=size_bytes,
        created_at="2026-02-03T04:00:00Z",
        created_by="ada",
    )


def report(*, status=0, gate=None, suites=None, **fields):
    """Make a report on a gate check of me/chat:v3 that passed, unless the fields say otherwise."""
    passed = (SuiteOutcome("smoke", verdict("pass", check(value=1.5, threshold=0.1))),)
    given = {
        "answer": answer() if gate is None else gate,
        "suites": passed if suites is None else suites,
        "base": base(),
        "compared": ReportComparison("what prod serves", diff()),
    }
    return GateReport(version(), status, NOW, **(given | fields))


def hostile(text=HOSTILE):
    """Make a report whose every text of others is hostile."""
    checks = [
        check(name=text[:200], outcome=word, detail=text, code=text[:60], value=text[:500])
        for word in ("pass", "fail", "warn", "skipped", "n/a")
    ]
    judged = SuiteOutcome("smoke", verdict("fail", *checks, sandbox=text, verifier=text, environment={text: text}))
    weight = WeightDifference(text, float("nan"), float("inf"), 1.0, float("inf"))
    return report(
        status=8,
        gate=answer(("failed", text, text), ("missing", text, text), ("failed", text, text)),
        suites=(judged, SuiteOutcome("deep", None, run(error=text))),
        compared=ReportComparison(text, diff([weight, *weights(2)], note=text), text),
        history=(MetricHistory("smoke", text, (MetricPoint(1, 1.0), MetricPoint(3, 2.0, is_this=True)), 5.0),),
    )
