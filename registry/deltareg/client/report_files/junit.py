"""A report as JUnit XML: a testsuite per suite, a testcase per check, and a testsuite for the gate.

Elements and attributes are those of the Ant JUnit schema, which Jenkins, GitLab and GitHub read:
`testsuites/testsuite/{properties, testcase/{skipped, error, failure}, system-out, system-err}`. A
check that fails is a `failure`; what could not be judged is an `error`, and never a pass.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from deltareg.client.report_files.facts import GateReport, SuiteOutcome
from deltareg.drawing.wording import clean_lines, cut, number
from deltareg.errors import Blocked, GateFailed
from deltareg.gate.ruling import RULE_ERRORS
from deltareg.wire import CheckResult

POLICY = "policy"
MOST_DETAIL = 4_000
_MOST_WORD = 300
_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STANDING = ("revoked", "quarantined", "deleted", "frozen")
_FAILING = {rule for rule, error in RULE_ERRORS.items() if error in {Blocked, GateFailed}}
Mark = Literal["", "skipped", "error", "failure"]
_MARKS: tuple[Mark, ...] = ("failure", "error", "skipped")


@dataclass(frozen=True, slots=True)
class JUnitCase:
    """A testcase: its name, how long it took, and what to mark it with."""

    name: str
    seconds: float = 0.0
    mark: Mark = ""
    code: str = ""
    detail: str = ""


def to_junit(report: GateReport) -> str:
    """Format a report as JUnit XML."""
    suites = [_suite(report, judged) for judged in report.suites]
    parts = [
        (judged.suite, properties, cases) for judged, (properties, cases) in zip(report.suites, suites, strict=True)
    ]
    if report.answer is not None:
        parts.append((POLICY, [("channel", report.answer.channel)], _policy(report)))
    body = "".join(
        _testsuite(report, number, name, properties, cases) for number, (name, properties, cases) in enumerate(parts)
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{body}</testsuites>\n'


def _suite(report: GateReport, judged: SuiteOutcome) -> tuple[list[tuple[str, str]], list[JUnitCase]]:
    verdict, run = judged.verdict, judged.run
    properties = [("verdict", judged.word), ("digest", report.version.digest)]
    if verdict is None:
        why = (run.error if run else None) or f"suite {judged.suite} has no verdict that counts"
        case = JUnitCase("verdict", mark="error", code=judged.word, detail=why)
        return [*properties, ("run", run.id if run else "")], [case]
    properties += [
        ("id", verdict.id),
        ("base_evidence", verdict.base_evidence),
        ("sandbox", verdict.sandbox),
        ("verifier", verdict.verifier),
        ("dtype", verdict.dtype),
        ("seed", str(verdict.seed)),
        *sorted(verdict.environment.items()),
    ]
    is_open = verdict.verdict == "inconclusive"
    cases = [_check(check, is_open=is_open) for check in verdict.checks]
    if is_open and not any(case.mark == "error" for case in cases):
        detail = "a required check showed nothing"
        cases.append(JUnitCase("verdict", mark="error", code="inconclusive", detail=detail))
    return properties, cases


def _check(check: CheckResult, *, is_open: bool) -> JUnitCase:
    mark: Mark = ""
    if check.verdict == "fail":  # of an inconclusive verdict: the worker or its host failed
        mark = "error" if is_open else "failure"
    elif check.verdict == "skipped":  # of an inconclusive verdict, it may be the reason
        mark = "error" if is_open else "skipped"
    elif check.verdict == "n/a":
        mark = "skipped"
    measures = [
        f"{word} {number(value)}"
        for word, value in (("value", check.value), ("threshold", check.threshold), ("baseline", check.baseline))
        if value is not None
    ]
    detail = "; ".join(filter(None, [check.detail, ", ".join(measures)]))
    if check.verdict == "warn":
        detail = f"warning: {detail}"
    return JUnitCase(check.name, check.seconds, mark, check.code or check.verdict, detail)


def _policy(report: GateReport) -> list[JUnitCase]:
    """Return a case for each rule: the unmet ones, and those that are known to be met."""
    answer = report.answer
    assert answer is not None
    unmet = [
        JUnitCase(
            _rule_name(rule.rule, [c.rule for c in answer.unmet[:at]]),
            mark="failure" if rule.rule in _FAILING else "error",
            code=rule.rule,
            detail=f"{rule.message}\nfix: {rule.fix}",
        )
        for at, rule in enumerate(answer.unmet)
    ]
    rules = {rule.rule for rule in answer.unmet}
    cases = [JUnitCase(f"not {rule}") for rule in _STANDING if rule not in rules]
    cases += [JUnitCase(f"suite {one.suite}") for one in report.suites if one.word == "pass"]
    return unmet + cases


def _rule_name(rule: str, before: Sequence[str]) -> str:
    """Name a case after its rule; a rule that is unmet twice gets a number."""
    count = before.count(rule)
    return f"{rule} {count + 1}" if count else rule


def _testsuite(
    report: GateReport, at: int, name: str, properties: list[tuple[str, str]], cases: list[JUnitCase]
) -> str:
    counts = {mark: sum(case.mark == mark for case in cases) for mark in _MARKS}
    attributes = {
        "package": report.version.ref,
        "id": str(at),
        "name": name,
        "timestamp": report.made_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "hostname": "deltareg",
        "tests": str(len(cases)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }
    lines = [f"    <property{_attributes({'name': k, 'value': v})}/>" for k, v in properties]
    notes = "\n".join(_detail(f"{c.name}: {c.detail}") for c in cases if c.detail and not c.mark)
    return "\n".join(
        [
            f"  <testsuite{_attributes(attributes)}>",
            "    <properties>",
            *(f"  {line}" for line in lines),
            "    </properties>",
            *(_testcase(name, case) for case in cases),
            f"    <system-out>{escape(notes)}</system-out>",
            "    <system-err></system-err>",
            "  </testsuite>\n",
        ]
    )


def _testcase(suite: str, case: JUnitCase) -> str:
    open_tag = _attributes({"classname": suite, "name": case.name, "time": f"{case.seconds:.3f}"})
    if not case.mark:
        return f"    <testcase{open_tag}/>"
    message = _detail(case.detail).partition("\n")[0]
    attributes = {"message": message}
    if case.mark != "skipped":
        attributes["type"] = case.code or case.mark
    inner = f"<{case.mark}{_attributes(attributes)}>{escape(_detail(case.detail))}</{case.mark}>"
    return f"    <testcase{open_tag}>\n      {inner}\n    </testcase>"


def _detail(text: str) -> str:
    return cut(_xml(text), MOST_DETAIL)


def _attributes(values: dict[str, str]) -> str:
    return "".join(f" {name}={quoteattr(cut(_xml(text), _MOST_WORD))}" for name, text in values.items())


def _xml(text: str) -> str:
    """Remove characters that XML cannot hold, and those that turn or hide text."""
    return _NOT_XML.sub("", clean_lines(text))
