"""`deltareg verify`: have a version checked on its base."""

from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput, WaitTimeout
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, option, timeout_option
from deltareg_cli.options.reporting import report_options, write_gate_reports
from deltareg_cli.options.where import parse_where
from deltareg_cli.runs.local_worker import verify_here
from deltareg_cli.runs.waiting import run_answer, run_status, wait_for
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.report_files.writing import ReportPaths
    from deltareg.wire import RunInfo

ORDER = 10


@command(
    "verify",
    Example("queue the default suite, or join a run of it", "deltareg verify me/chat:v3"),
    Example("wait for the verdict", "deltareg verify me/chat:v3 --wait"),
    Example(
        "with reports for a pipeline", "deltareg verify me/chat:v3 --wait --junit checks.xml --report-html verdict.html"
    ),
    Example("once more, although there is a verdict", "deltareg verify me/chat:v3 --again --wait"),
    Example("a quick look while training goes on", "deltareg verify me/chat --fast --wait"),
    Example("on the base in four bits", "deltareg verify me/chat:v3 --variant llama-bnb4 --wait"),
    Example("on an H100", "deltareg verify me/chat:v3 --on h100 --wait"),
    Example("here, by a worker of its own", "deltareg verify me/chat:v3 --on local"),
    see_also=("verdict", "gate", "worker", "help exit-codes"),
    is_resumable=True,
)
@click.argument("ref", help="What to verify; a bare NS/NAME is its newest version.")
@option("--suite", default="smoke", show_default=True, help="The checks to make.")
@option("--fast", is_flag=True, help="Stored values and one forward only, in seconds; counts for no channel.")
@option(
    "--channel",
    type=ChannelParam(),
    help="Bind the verdict to this channel's policy: it does not count there under another one.",
)
@option(
    "--variant",
    default="",
    metavar="NAME",
    help="Verify on this variant of the base, whose weights are packed, in place of the base.",
)
@option("--independent", is_flag=True, help="By another worker, on another host, than before.")
@option("--again", is_flag=True, help="Make the checks anew although a verdict counts.")
@option(
    "--on",
    "places",
    metavar="PLACE",
    multiple=True,
    help="any, local, cpu, cuda, a GPU such as h100, or LABEL=VALUE; may be repeated.",
)
@option(
    "--priority",
    type=click.Choice(["low", "normal", "high"]),
    default="normal",
    show_default=True,
    help="Before or after other runs; high is for those who promote.",
)
@option("--wait", is_flag=True, help="Wait for the verdict.")
@option("--all", "has_all", is_flag=True, help="List every check, not only those that failed.")
@timeout_option()
@report_options
@click.pass_obj
def verify(
    invocation: Invocation,
    ref: str,
    *,
    suite: str,
    fast: bool,
    channel: str | None,
    variant: str,
    independent: bool,
    again: bool,
    places: tuple[str, ...],
    priority: str,
    wait: bool,
    has_all: bool,
    timeout: float,
    against: str,
    paths: "ReportPaths",
) -> ExitStatus:
    """Have a version checked on its base by a worker.

    The verdict is bound to the version, its base, the suite and the verifier's version. A run is
    queued, or joined if one is under way for the same version, base and suite. With --wait the
    checks are counted as they come, and the exit status is the verdict: 0 pass, 8 fail, 11
    inconclusive. A check that should have run and did not makes the verdict inconclusive, which
    never counts as pass.

    With --fast the suite is fast: stored values and one forward, for a look while training goes on.
    Its verdict is shown like any other and opens no channel, whatever a policy says.

    With --variant the version runs on that variant: its packed weights are unpacked by the formulas
    of their scheme, so no library of it is needed. Such a verdict counts where a policy names the
    variant, and in deltareg base compat.

    With --on the checks are made where the worker offers what is asked for: h100 is a word of the
    GPU's name, gpu_memory_gib=40 is at least so much, any other label is as it was given. With
    --on local this command starts a worker here, for this run only, and waits for it; the token
    must allow verify, and the verify part must be installed. Nobody enrolled that worker, so its
    verdict is for your eyes: it counts for no channel, unless a policy says local: true. With
    --independent another worker makes the checks, on another host, than those that passed already.
    """
    suite = _suite_meant(suite, is_fast=fast, channel=channel)
    where = parse_where(places)
    if paths.requested and not (wait or where.is_here):
        raise InvalidInput("a report needs the verdict", fix="add --wait")
    paths.check()
    from deltareg.wire import RunCreate, request_of  # messages load when something is asked

    request = request_of(
        RunCreate,
        ref=ref,
        suite=suite,
        again=again,
        labels=where.labels,
        priority=priority,
        channel=channel,
        variant=variant,
        independent=independent,
    )
    if where.is_here:
        run = verify_here(invocation, request, timeout_s=timeout)
        _write(invocation, run, paths, against=against)
        invocation.output.show(run_answer(run, invocation, has_all=has_all))
        return run_status(run)
    run = invocation.client.runs.create(request)
    if wait:
        run = _wait_and_report(invocation, run, paths, timeout_s=timeout, against=against)
    promote = "" if fast else f"promote it: deltareg promote {run.ref} --channel {channel or 'prod'}"
    invocation.output.show(run_answer(run, invocation, has_all=has_all, next_step=promote))
    return run_status(run) if wait else ExitStatus.DONE


def _suite_meant(suite: str, *, is_fast: bool, channel: str | None) -> str:
    """Return the suite that the options mean.

    Raises:
        InvalidInput: `--fast` stands beside an option that it excludes.
    """
    if not is_fast:
        return suite
    if suite != "smoke" or channel is not None:
        other = "--channel" if channel is not None else "--suite"
        raise InvalidInput(
            f"--fast is a suite of its own, which counts for no channel; {other} asks for another",
            fix=f"leave --fast out, or {other}",
        )
    return "fast"


def _wait_and_report(
    invocation: Invocation, run: "RunInfo", paths: "ReportPaths", *, timeout_s: float, against: str
) -> "RunInfo":
    """Wait, and write the reports even when the time runs out first."""
    try:
        run = wait_for(invocation, run, timeout_s=timeout_s)
    except WaitTimeout:
        now = invocation.client.runs.show(run.id)
        _write(invocation, now, paths, against=against, status=ExitStatus.TIMEOUT)
        raise
    _write(invocation, run, paths, against=against)
    return run


def _write(
    invocation: Invocation, run: "RunInfo", paths: "ReportPaths", *, against: str, status: ExitStatus | None = None
) -> None:
    ended = run_status(run) if status is None else status
    runs = {run.suite: run}
    write_gate_reports(invocation, run.ref, paths, against=against, status=ended, runs=runs)
