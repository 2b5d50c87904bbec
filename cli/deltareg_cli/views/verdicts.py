"""Runs, verdicts and their checks."""

from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, Text, TitleBlock, tone_word
from deltareg_cli.terminal.wording import count, moment, number, seconds, short, size
from deltareg_cli.views.comparisons import comparison_blocks
from deltareg_cli.views.runs import explain_unserved
from deltareg_cli.views.versions import proof_cell

if TYPE_CHECKING:
    from deltareg.wire import CheckResult, RunInfo, VerdictInfo, Waiver

_WRONG = 5
_FINDING = {"answer": "asked a prompt", "compare": "compared with another"}
RESULT_FIELDS = ("id", "verdict", "checks", "environment")


def verdict_details(verdict: "VerdictInfo", *, now: datetime) -> list[Block]:
    """Show what a verdict is bound to, who signed it, and where it was made."""
    environment = ", ".join(f"{key} {short(text)}" for key, text in sorted(verdict.environment.items()))
    return [
        FactsBlock(
            [
                *_waivers(verdict, now=now),
                ("continues", verdict.continues),
                ("continued by", _continuation(verdict)),
                ("on", verdict.variant),
                ("id", verdict.id),
                ("digest", short(verdict.digest)),
                ("base", [short(verdict.base_root), Cell(verdict.base_evidence, "dim")]),
                ("signed by", _signer(verdict)),
                ("given", f"{moment(verdict.created_at, now=now)} by {verdict.verifier}"),
                ("run with", f"{verdict.dtype}, seed {verdict.seed}"),
                ("sandbox", verdict.sandbox),
                ("policy", short(verdict.policy_digest)),
                ("environment", environment),
            ]
        )
    ]


def check_blocks(checks: list["CheckResult"]) -> list[Block]:
    """Show every check, and below them what was compared."""
    return [TitleBlock("Checks"), check_table(checks), *comparison_blocks(checks)]


def check_table(checks: list["CheckResult"]) -> TableBlock:
    """Build the table of checks."""
    columns = [
        Column("check"),
        Column("verdict"),
        Column("value", is_number=True),
        Column("threshold", is_number=True),
        Column("baseline", is_number=True),
        Column("took", is_number=True),
        Column("detail", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            check.name,
            tone_word(check.verdict),
            number(check.value),
            number(check.threshold),
            number(check.baseline),
            seconds(check.seconds),
            f"{check.code}: {check.detail}" if check.code else check.detail,
        ]
        for check in checks
    ]
    return TableBlock(columns, rows, if_empty="no checks were made")


def verdict_table(verdicts: list["VerdictInfo"], *, now: datetime) -> TableBlock:
    """Build the table of verdicts, newest first."""
    columns = [
        Column("id"),
        Column("ref"),
        Column("suite"),
        Column("verdict"),
        Column("counts"),
        Column("given"),
        Column("failed", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(verdict.id, "name"),
            verdict.ref,
            f"{verdict.suite} on {verdict.variant}" if verdict.variant else verdict.suite,
            outcome_of_verdict(verdict),
            "yes" if verdict.counts else Cell("no", "warn"),
            moment(verdict.created_at, now=now),
            ", ".join(_list_failed(verdict)),
        ]
        for verdict in verdicts
    ]
    return TableBlock(columns, rows, if_empty="no verdict yet: deltareg verify REF --wait")


def outcome_of_verdict(verdict: "VerdictInfo") -> Cell:
    """Return the outcome; a pass with warnings says so."""
    warnings = [check for check in verdict.checks if check.verdict == "warn"]
    if verdict.verdict != "pass" or not warnings:
        return tone_word(verdict.verdict)
    return Cell(f"pass, {count(len(warnings), 'warning')}", "warn")


def _continuation(verdict: "VerdictInfo") -> Text:
    """Describe the run that makes up for the skipped checks, or how to queue one."""
    if verdict.continuation:
        return f"run {verdict.continuation}"
    if not continuation_due(verdict):
        return ""
    return Cell(f"nothing yet: deltareg verdict continue {verdict.id}", "warn")


def continuation_due(verdict: "VerdictInfo") -> bool:
    """Whether a waived failure kept checks from running, and no run makes up for them yet."""
    is_waived = any(waiver.stands for waiver in verdict.waivers)
    return verdict.verdict == "fail" and is_waived and not (verdict.is_complete or verdict.continuation)


def told_waiver(waiver: "Waiver", *, now: datetime) -> str:
    """Describe a waiver: `perplexity for prod, ends in 30 days, by ada: known`."""
    where = f" for {waiver.channel}" if waiver.channel else ""
    what = f"{waiver.check}{where}, ends {moment(waiver.expires_at, now=now)}"
    if not waiver.stands:
        how = f"ended by {waiver.revoked_by}" if waiver.revoked_by else "expired"
        ended = moment(waiver.revoked_at or waiver.expires_at, now=now)
        what = f"{waiver.check}{where}, {how} {ended}"
    return f"{what}, by {waiver.created_by}: {waiver.reason}"


def _signer(verdict: "VerdictInfo") -> list[Text]:
    if not verdict.keyid:
        return [Cell("nobody", "warn")] if verdict.verifier else []
    key = Cell(f"key {verdict.keyid[:12]}", "dim")
    if verdict.is_local:
        return [Cell("a worker that nobody enrolled", "warn"), key]
    return [verdict.signed_by, Cell(verdict.host, "dim"), key]


def _waivers(verdict: "VerdictInfo", *, now: datetime) -> list[tuple[str, Text]]:
    return [
        (
            "waived" if waiver.stands else "was waived",
            Cell(told_waiver(waiver, now=now), "warn" if waiver.stands else "dim"),
        )
        for waiver in verdict.waivers
    ]


def _list_failed(verdict: "VerdictInfo") -> list[str]:
    waived = {waiver.check for waiver in verdict.waivers if waiver.stands}
    names = [check.name for check in verdict.checks if check.verdict == "fail"]
    return [f"{name} (waived)" if name in waived else name for name in names]


def run_blocks(run: "RunInfo", *, now: datetime) -> list[Block]:
    """Show a run without a verdict: not yet, or because it is of another kind."""
    return [
        TitleBlock(run.ref or run.base, _task(run)),
        FactsBlock(
            [
                ("run", Cell(run.id, "name")),
                ("state", [tone_word(run.state), Cell(explain_unserved(run), "warn")]),
                ("attempt", str(run.attempt)),
                ("worker", run.worker or ""),
                ("error", Cell(run.error or "", "bad")),
                ("stored", _describe_stored_bytes(run)),
                ("bytes", proof_cell(run.proof)),
                ("wrong", Cell(", ".join(part.name for part in run.wrong[:_WRONG]), "bad")),
                ("queued", moment(run.created_at, now=now)),
            ]
        ),
    ]


def _task(run: "RunInfo") -> str:
    if run.what == "reencode":
        alone = "the base alone" if run.against == "base" else "what stores it smallest"
        return f"stored anew, against {alone}"
    if run.what in _FINDING:
        return _FINDING[run.what]
    if run.what == "prove":
        return "a proof of its bytes"
    return f"suite {run.suite} on {run.variant}" if run.variant else f"suite {run.suite}"


def _describe_stored_bytes(run: "RunInfo") -> str:
    if run.stored_bytes is None:
        return ""
    before, after = run.stored_bytes.before, run.stored_bytes.after
    return f"in {size(after)}, {size(before)} before"
