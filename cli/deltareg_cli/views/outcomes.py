"""A verdict in a few lines: the answer, what failed with its fix, and a line for all the rest."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg.suites.fixes import fix_of
from deltareg_cli.terminal.blocks import Block, Cell, LinesBlock, Sentence, SentencesBlock, Text, Tone
from deltareg_cli.terminal.wording import count, number
from deltareg_cli.views.runs import standing
from deltareg_cli.views.verdicts import continuation_due, told_waiver

if TYPE_CHECKING:
    from deltareg.wire import CheckResult, RunInfo, VerdictInfo

_MOST_SHOWN = 2
_MOST_MEASURES = 2
_WORDS: dict[str, tuple[str, Tone]] = {
    "pass": ("passes", "good"),
    "fail": ("FAILS", "bad"),
    "inconclusive": ("is INCONCLUSIVE on", "warn"),
}
_COUNTED = (("pass", "passed"), ("n/a", "{} not apply"), ("skipped", "did not run"))
_TONES: dict[str, Tone] = {"fail": "bad", "warn": "warn", "skipped": "warn"}


def outcome_blocks(verdict: "VerdictInfo", *, now: datetime, next_step: str = "", named: str = "") -> list[Block]:
    """Show a verdict in at most eight lines.

    Args:
        verdict: The verdict.
        now: The time that waivers end relative to.
        next_step: What to do after a pass that counts.
        named: What the user calls it; the version, whose newest it is, where that is empty.
    """
    word, tone = _WORDS[verdict.verdict]
    suite = f"{verdict.suite} on {verdict.variant}" if verdict.variant else verdict.suite
    foot = _foot(verdict, now=now)
    shown = _worth_showing(verdict)[: 1 if foot else _MOST_SHOWN]
    if verdict.verdict == "pass" or not shown:
        blocks: list[Block] = [LinesBlock([[Cell(verdict.ref, "name"), Cell(word, tone), suite]])]
        others = shown
    else:
        why = f"{suite} at {shown[0].name}: {_finding(shown[0])}"
        blocks = [SentencesBlock([Sentence(why, Cell(f"{verdict.ref} {word}", tone))]), *_fix_blocks(shown[0])]
        others = shown[1:]
    for check in others:
        blocks += _check_blocks(check, most_lines=1)
    measures = _measures(verdict.checks) if verdict.verdict == "pass" else ""
    rows = [Sentence(rest, most_lines=1)] if (rest := _the_rest(verdict, shown)) else []
    rows += foot
    if verdict.verdict == "pass" and verdict.counts and next_step:
        rows.append(Sentence(next_step))
    if verdict.verdict != "pass":
        rows.append(Sentence(f"all checks: deltareg verdict show {named or verdict.ref} --all"))
    if measures:
        blocks.append(SentencesBlock([Sentence(measures, most_lines=1)], indent=2))
    return [*blocks, *(SentencesBlock([row]) for row in rows)]


def _foot(verdict: "VerdictInfo", *, now: datetime) -> list[Sentence]:
    """Say what is special about a verdict: a waiver, that it does not count, that something is still to run."""
    rows = [
        Sentence(told_waiver(waiver, now=now), Cell("waived:", "warn"), most_lines=1)
        for waiver in verdict.waivers
        if waiver.stands
    ][:1]
    if not verdict.counts:
        rows.append(Sentence(verdict.not_counting, Cell("does not count:", "warn"), most_lines=1))
    if continuation_due(verdict):
        rows.append(Sentence(f"run what it kept from running: deltareg verdict continue {verdict.id}"))
    return rows


def run_outcome_blocks(run: "RunInfo") -> list[Block]:
    """Show in a line or two what became of a verification that has no verdict, or not yet."""
    if not run.is_over:
        waits = f"deltareg verify {run.ref} --wait"
        if run.suite != "smoke":
            waits = f"deltareg verify {run.ref} --suite {run.suite} --wait"
        head: list[Text] = [Cell(run.ref, "name"), f"{run.suite}:", Cell(standing(run), "warn" if run.unserved else "")]
        return [LinesBlock([head]), SentencesBlock([Sentence(f"wait for the verdict: {waits}")])]
    ended: list[Text] = [
        Cell(run.ref, "name"),
        Cell("has NO VERDICT:", "warn"),
        f"the run of {run.suite} is {run.state}",
    ]
    why = [Sentence(run.error, Cell("error:", "bad"))] if run.error else []
    return [
        LinesBlock([ended]),
        SentencesBlock([*why, Sentence(f"deltareg verdict logs {run.id}", Cell("log:", "dim"))], indent=2),
    ]


def _worth_showing(verdict: "VerdictInfo") -> list["CheckResult"]:
    """Return what a person has to read: what failed, then what warns; of an inconclusive verdict what did not run."""
    skipped = verdict.checks if verdict.verdict == "inconclusive" else []
    by_outcome = [
        *(check for check in verdict.checks if check.verdict == "fail"),
        *(check for check in verdict.checks if check.verdict == "warn"),
        *(check for check in skipped if check.verdict == "skipped"),
    ]
    waived = {waiver.check for waiver in verdict.waivers if waiver.stands}
    return [check for check in by_outcome if check.name not in waived]


def _check_blocks(check: "CheckResult", *, most_lines: int) -> list[Block]:
    """Show a check that is no pass: what was found, and what to do about it."""
    lead = Cell(f"{check.name}:" if check.verdict == "fail" else f"{check.name} {check.verdict}:")
    lead = Cell(lead.text, _TONES.get(check.verdict, ""))
    return [SentencesBlock([Sentence(_finding(check), lead, most_lines)], indent=2), *_fix_blocks(check)]


def _fix_blocks(check: "CheckResult") -> list[Block]:
    """Say what to do about a check that failed."""
    if check.verdict != "fail":
        return []
    fix = fix_of(check.name, check.code)
    return [SentencesBlock([Sentence(fix, Cell("fix:", "good"), most_lines=1)], indent=2)]


def _finding(check: "CheckResult") -> str:
    """Return what was found; without words of the worker, the value beside its threshold."""
    if check.detail:
        return check.detail
    limit = "" if check.threshold is None else f", the limit is {number(check.threshold)}"
    return f"{number(check.value)}{limit}"


def _the_rest(verdict: "VerdictInfo", shown: Sequence["CheckResult"]) -> str:
    """Count in a line the checks that are not shown, and name those that failed or warn all the same."""
    names = {check.name for check in shown}
    others = [check for check in verdict.checks if check.name not in names]
    parts: list[str] = []
    for outcome, words in (("fail", "failed"), ("warn", "warn")):
        if left := [_name(check, verdict) for check in others if check.verdict == outcome]:
            parts.append(f"{', '.join(left)} {words if len(left) > 1 or outcome == 'fail' else 'warns'} too")
    for outcome, words in _COUNTED:
        if left := [check.name for check in others if check.verdict == outcome]:
            tail = words.format("does" if len(left) == 1 else "do")
            parts.append(f"{count(len(left), 'check')} {tail}" if not parts else f"{len(left)} {tail}")
    return ", ".join(parts)


def _name(check: "CheckResult", verdict: "VerdictInfo") -> str:
    is_waived = any(waiver.stands and waiver.check == check.name for waiver in verdict.waivers)
    return f"{check.name} (waived)" if is_waived else check.name


def _measures(checks: Sequence["CheckResult"]) -> str:
    """Name what people compare first: what was held against another version, then against the base."""
    shown = {check.name for check in checks if check.verdict in {"fail", "warn"}}
    measured = [check for check in checks if _is_measure(check) and check.name not in shown]
    measured.sort(key=lambda check: check.comparison is None)
    return "; ".join(_describe_measure(check) for check in measured[:_MOST_MEASURES])


def _is_measure(check: "CheckResult") -> bool:
    from deltareg.suites.catalogue import CATALOGUE  # reads a file

    form = CATALOGUE.get(check.name)
    is_measure = form is None or form.takes_threshold or check.name == "general_perplexity"
    return is_measure and isinstance(check.value, float | int) and check.baseline is not None


def _describe_measure(check: "CheckResult") -> str:
    found = check.comparison
    against = "base" if found is None else found.other or found.against
    return f"{check.name.replace('_', ' ')} {number(check.value)} ({against} {number(check.baseline)})"
