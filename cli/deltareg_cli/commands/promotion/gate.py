"""`deltareg gate`: ask whether a version may go to a channel."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.client.resources.missing import missing_verifications
from deltareg.errors import Misconfigured, WaitTimeout
from deltareg_cli.exits import ExitStatus, gate_status
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, accept_warnings_option, new_base_option, option, timeout_option
from deltareg_cli.options.reporting import report_options, write_gate_reports
from deltareg_cli.runs.waiting import follow
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.channels import gate_blocks
from deltareg_cli.views.warnings import warn_of

if TYPE_CHECKING:
    from deltareg.client.report_files.writing import ReportPaths
    from deltareg.wire import GateAnswer, RunInfo

_PROOF_S = 60.0
_LOOK_S = 3.0
ORDER = 60


@group(
    "gate",
    Example("may it go to prod?", "deltareg gate check me/chat:v3 --channel prod"),
    see_also=("promote", "verify"),
    of_reference="check",
)
def gate() -> None:
    """Ask whether a version may go to a channel."""


@dataclass(frozen=True, slots=True)
class _Waited:
    """The runs that the gate waited for, by suite, and the error of the first that is not over."""

    runs: dict[str, "RunInfo"]
    late: WaitTimeout | None = None


@dataclass(slots=True)
class _Needless:
    """Asks every few seconds whether the gate still needs the verdict of a suite.

    Another run may have brought it: one without a channel, or one that somebody else queued.
    """

    invocation: Invocation
    before: "GateAnswer"
    suite: str
    asked_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> bool:
        """Return whether the gate asks for no verdict of the suite any more."""
        if time.monotonic() < self.asked_at + _LOOK_S:
            return False
        answer = self.invocation.client.gate(self.before.ref, self.before.channel)
        self.asked_at = time.monotonic()
        return all(missing.suite != self.suite for missing in missing_verifications(answer))


@command(
    "check",
    Example("may it go to prod?", "deltareg gate check me/chat:v3 --channel prod"),
    Example(
        "have missing verdicts made first, and wait",
        "deltareg gate check me/chat:v3 --channel prod --wait --timeout 30m",
    ),
    Example(
        "for a pipeline", "deltareg gate check me/chat:v3 --channel prod --wait --junit gate.xml --report-md gate.md"
    ),
    see_also=("promote", "verify", "channel policy", "help exit-codes"),
    is_resumable=True,
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@option("--channel", required=True, type=ChannelParam(), help="The channel that it would go to.")
@option("--wait", is_flag=True, help="Have missing verdicts made, and wait for them.")
@accept_warnings_option()
@option("--accept-undecided", is_flag=True, help="As if comparisons that the samples do not decide were waived.")
@new_base_option()
@timeout_option(help="How long to wait; the runs go on after that.")
@option("--vsa", metavar="FILE", help="Write the answer as the server signs it, a SLSA VSA.")
@report_options
@click.pass_obj
def check(
    invocation: Invocation,
    ref: str,
    *,
    channel: str,
    wait: bool,
    accept_warnings: bool,
    accept_undecided: bool,
    new_base: bool,
    timeout: float,
    vsa: str | None,
    against: str,
    paths: "ReportPaths",
) -> ExitStatus:
    """Ask whether a version may go to a channel.

    Lists what is unmet, each with the command that would change it. Nothing is changed; --wait
    queues the verifications that are missing, bound to the channel's policy. Reports are written
    whatever the answer is. A verdict that nobody signed who is trusted here is refused, with exit
    status 6, though the server counts it. Exit status: 0 allowed, 8 a verdict is fail, 9 a
    verdict or an approval is missing, too old or does not count, or warnings are not accepted, 11
    a verdict is inconclusive or a comparison undecided, 13 revoked, quarantined, deleted, frozen, of
    a kind or base that the channel does not take, or for another base than it serves, 124 the wait
    timed out.
    """
    paths.check()
    ask = partial(
        invocation.client.gate,
        channel=channel,
        accept_warnings=accept_warnings,
        new_base=new_base,
        accept_undecided=accept_undecided,
    )
    answer = ask(ref)
    waited = _wait(invocation, answer, timeout_s=timeout) if wait else _Waited({})
    if wait:
        answer = ask(answer.ref)
    status = _status(answer, waited)
    if vsa is not None:
        _write_summary(answer, vsa)
    write_gate_reports(invocation, answer.ref, paths, status=status, answer=answer, runs=waited.runs, against=against)
    document = {**fields(answer, "allowed", "unmet"), "warnings": warn_of(invocation, answer.ref)}
    invocation.output.show(CommandResult(document, gate_blocks(answer), [answer.ref]))
    if status is ExitStatus.TIMEOUT and waited.late is not None:
        raise waited.late
    return status


def _write_summary(answer: "GateAnswer", file: str) -> None:
    """Write the summary that the server signed.

    Raises:
        Misconfigured: The server has no key, so it signs nothing.
    """
    if not answer.vsa:
        raise Misconfigured("the server does not sign its answers", fix="give it a key: DELTAREG_SIGNING_KEY")
    Path(file).write_text(f"{answer.vsa}\n", encoding="utf-8")


def _wait(invocation: Invocation, answer: "GateAnswer", *, timeout_s: float) -> _Waited:
    """Queue every missing verification, then wait for all of them within one timeout."""
    deadline = time.monotonic() + timeout_s
    runs = {
        missing.suite: invocation.client.verify(
            answer.ref,
            suite=missing.suite,
            again=missing.again,
            channel=answer.channel,
            independent=missing.independent,
        )
        for missing in missing_verifications(answer)
    }
    late: WaitTimeout | None = None
    for suite, run in runs.items():
        try:
            left_s = max(0.0, deadline - time.monotonic())
            is_needless = _Needless(invocation, answer, suite)
            runs[suite] = follow(invocation, run, timeout_s=left_s, is_needless=is_needless)
        except WaitTimeout as error:
            late = late or error
            runs[suite] = invocation.client.runs.show(run.id)
    if any(rule.rule == "proven" for rule in answer.unmet):
        _wait_for_proof(invocation, answer, timeout_s=max(0.0, deadline - time.monotonic()))
    return _Waited(runs, late)


def _wait_for_proof(invocation: Invocation, answer: "GateAnswer", *, timeout_s: float) -> None:
    """Have the bytes proven, without which no verdict is made; the next answer reports the result."""
    client = invocation.client
    with suppress(WaitTimeout):
        client.runs.wait(client.runs.prove(answer.ref), timeout_s=min(timeout_s, _PROOF_S))


def _status(answer: "GateAnswer", waited: _Waited) -> ExitStatus:
    """Return the exit status; a run that ended without a verdict is inconclusive, never a pass."""
    if answer.allowed:
        return ExitStatus.DONE
    rules = [rule.rule for rule in answer.unmet]
    if any(run.is_over and run.verdict is None for run in waited.runs.values()):
        rules.append("inconclusive")
    status = gate_status(rules)
    return ExitStatus.TIMEOUT if status is ExitStatus.GATE_PENDING and waited.late is not None else status


gate.add_command(check)
