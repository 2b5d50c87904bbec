"""`deltareg verify`: have a version checked on its base."""

from functools import partial

import click

from deltareg.client.report_files.writing import ReportPaths
from deltareg.errors import InvalidInput, WaitTimeout
from deltareg.wire import RunInfo
from deltareg_cli.command_tree import command
from deltareg_cli.exits import Exit
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import Channel, Duration, option
from deltareg_cli.reporting import report_options, write_gate_reports
from deltareg_cli.waiting import run_answer, run_status, wait_for


@command(
    "verify",
    Example("queue the default suite, or join a run of it", "deltareg verify me/chat:v3"),
    Example("wait for the verdict", "deltareg verify me/chat:v3 --wait"),
    Example(
        "with reports for a pipeline",
        "deltareg verify me/chat:v3 --wait --junit checks.xml --report-html verdict.html",
    ),
    Example("once more, although there is a verdict", "deltareg verify me/chat:v3 --again --wait"),
    see_also=("verdict", "gate", "worker", "help exit-codes"),
    is_resumable=True,
)
@click.argument("ref", help="What to verify; a bare NS/NAME is its newest version.")
@option("--suite", default="smoke", show_default=True, help="The checks to make.")
@option(
    "--channel",
    type=Channel(),
    help="Bind the verdict to this channel's policy: it does not count there under another one.",
)
@option("--again", is_flag=True, help="Make the checks anew although a verdict counts.")
@option("--wait", is_flag=True, help="Wait for the verdict.")
@option(
    "--timeout",
    type=Duration(),
    default="30m",
    show_default=True,
    help="How long to wait; the run goes on after that.",
)
@report_options
@click.pass_obj
def verify(
    invocation: Invocation,
    ref: str,
    *,
    suite: str,
    channel: str | None,
    again: bool,
    wait: bool,
    timeout: float,
    against: str,
    paths: ReportPaths,
) -> Exit:
    """Have a version checked on its base by a worker.

    The verdict is bound to the version, its base, the suite and the verifier's version. A run is
    queued, or joined if one is under way for the same version, base and suite. With --wait the exit
    status is the verdict: 0 pass, 8 fail, 11 inconclusive. A check that should have run and did not
    makes the verdict inconclusive, which never counts as pass.
    """
    if paths.wanted and not wait:
        raise InvalidInput("a report needs the verdict", fix="add --wait")
    paths.check()
    run = invocation.client.verify(ref, suite=suite, again=again, channel=channel)
    if wait:
        run = _waited(invocation, run, paths, timeout_s=timeout, against=against)
    invocation.output.show(run_answer(run, invocation))
    return run_status(run) if wait else Exit.DONE


def _waited(
    invocation: Invocation, run: RunInfo, paths: ReportPaths, *, timeout_s: float, against: str
) -> RunInfo:
    """Wait, and write the reports also when the time was over first."""
    write = partial(write_gate_reports, invocation, run.ref, paths, against=against)
    try:
        run = wait_for(invocation, run, timeout_s=timeout_s)
    except WaitTimeout:
        write(status=Exit.TIMEOUT, runs={run.suite: invocation.client.run(run.id)})
        raise
    write(status=run_status(run), runs={run.suite: run})
    return run
