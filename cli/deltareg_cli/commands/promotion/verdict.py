"""`deltareg verdict`: verdicts that were given, the runs behind them, and those to come."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from deltareg.errors import NotFound
from deltareg.refs import Ref, is_id
from deltareg_cli.commands.promotion.verdict_signed import export, verify
from deltareg_cli.commands.promotion.waive import continue_, unwaive, waive
from deltareg_cli.exits import OUTCOME_STATUS, ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option, timeout_option
from deltareg_cli.runs.waiting import run_answer, run_status, verdict_answer, wait_for
from deltareg_cli.terminal.blocks import CommandResult, LinesBlock
from deltareg_cli.terminal.documents import fields, items_fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.terminal.wording import clean
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.runs import log_cells, queue_table, standing
from deltareg_cli.views.verdicts import verdict_table

if TYPE_CHECKING:
    from deltareg.wire import LogLine, RunInfo, RunLog, VerdictInfo

ORDER = 30

_ANY_VERDICT = "A verdict, its run, or a version whose newest verdict is meant."
_ANY_ID = "A run, a verdict, or a version whose newest run is meant."


@group(
    "verdict",
    Example("the verdicts of a version", "deltareg verdict ls me/chat:v3"),
    Example("one of them, check by check", "deltareg verdict show ID --all"),
    Example("what runs and what waits", "deltareg verdict ls --pending"),
    Example("how a verification goes, line by line", "deltareg verdict logs me/chat:v3 -f"),
    see_also=("verify", "gate", "worker ls"),
    of_reference="show",
)
def verdict() -> None:
    """Look at verdicts and the runs behind them, and waive a check."""


@command(
    "ls",
    Example("newest first", "deltareg verdict ls me/chat:v3"),
    Example("those to come, of everybody", "deltareg verdict ls --pending"),
    see_also=("verdict show", "verdict logs", "worker ls"),
)
@click.argument("ref", required=False, help="Whose verdicts; a bare NS/NAME is its newest version.")
@option("--pending", is_flag=True, help="What runs and what waits, the next one first.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, ref: str | None, *, pending: bool, limit: int, cursor: str | None) -> None:
    """List the verdicts of a version, or of all, newest first.

    A verdict counts while the version, its base and the suite are what they were. With --pending
    the runs are listed that have no verdict yet: first those under way, then those that wait, with
    their place. Higher priority goes first; among equals namespaces take turns.
    """
    if pending:
        queue = invocation.client.runs.queue(ref, limit=limit, cursor=cursor)
        waiting = queue_table(queue.items, now=invocation.now)
        ids = [run.id for run in queue.items]
        invocation.output.show(CommandResult(page_fields(queue), [waiting], ids))
        note_more(invocation.output, queue.next_cursor)
        return
    page = invocation.client.verdicts.list(ref, limit=limit, cursor=cursor)
    table = verdict_table(page.items, now=invocation.now)
    ids = [verdict.id for verdict in page.items]
    invocation.output.show(CommandResult(page_fields(page), [table], ids))
    note_more(invocation.output, page.next_cursor)


@command(
    "show",
    Example("the newest about a version", "deltareg verdict show me/chat:v3"),
    Example("a certain one, check by check", "deltareg verdict show ID --all"),
    Example("as it was signed", "deltareg verdict show ID --envelope"),
    see_also=("verdict ls", "help exit-codes"),
)
@click.argument("named", metavar="ID|REF", help=_ANY_VERDICT)
@option("--all", "has_all", is_flag=True, help="List every check, not only those that failed.")
@option("--envelope", is_flag=True, help="Print what the worker signed, and nothing else.")
@click.pass_obj
def show(invocation: Invocation, named: str, *, has_all: bool, envelope: bool) -> ExitStatus:
    """Show a verdict: what failed and what to do about it.

    With --all every check is listed with its value, threshold and baseline. With -v the verdict's
    digests, its signer and its environment are shown. The exit status is the verdict: 0 pass, 8
    fail, 11 inconclusive.
    """
    info = _find(invocation, named)
    if envelope:
        signed = invocation.client.verdicts.envelope(info.id)
        document = fields(signed, "verdict", "keyid", "envelope")
        invocation.output.show(CommandResult(document, [], [info.id], raw=f"{signed.envelope}\n"))
        return OUTCOME_STATUS[info.verdict]
    invocation.output.show(verdict_answer(info, invocation, has_all=has_all, named=named))
    return OUTCOME_STATUS[info.verdict]


def _find(invocation: Invocation, named: str) -> "VerdictInfo":
    """Find a verdict by its id, by the id of its run, or as the newest about a version.

    Raises:
        NotFound: There is none.
    """
    client = invocation.client
    if not is_id(named):
        verdicts = client.verdicts.list(str(Ref.parse(named)), limit=1).items
        if not verdicts:
            fix = f"deltareg verify {named} --wait"
            raise NotFound(f"there is no verdict about {named} yet", fix=fix)
        return verdicts[0]
    try:
        return client.verdicts.show(named)
    except NotFound as missing:
        try:
            run = client.runs.show(named)
        except NotFound:
            raise missing from None
    if run.verdict is None:
        fix = f"deltareg verdict logs {run.id} -f"
        raise NotFound(f"run {run.id} is {run.state} and has no verdict", fix=fix)
    return run.verdict


@command(
    "logs",
    Example("what was said so far", "deltareg verdict logs me/chat:v3"),
    Example("and what comes, until the run ends", "deltareg verdict logs ID -f"),
    see_also=("verdict ls", "verdict show", "verify"),
    is_resumable=True,
)
@click.argument("named", metavar="ID|REF", help=_ANY_ID)
@option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.pass_obj
def logs(invocation: Invocation, named: str, *, follow: bool) -> None:
    """Show what a worker says about a run.

    It says what it does, and the outcome of each check as it comes. Times are in UTC. A run that
    was taken over by another worker has the lines of both. A log keeps 1 MiB, and is dropped some
    time after its run has ended (30 days, unless the server says otherwise); the verdict stays. The
    exit status says nothing of the verdict.
    """
    run, dropped_at = invocation.client.runs.find(named), None
    lines: list[LogLine] = []
    is_stream = invocation.output.format in {"table", "jsonl"}

    def take(line: "LogLine") -> None:
        if is_stream:
            items = items_fields([fields(line)])
            invocation.output.show(CommandResult(items, [LinesBlock([log_cells(line)])]))
        else:
            lines.append(line)

    if follow and run.finished_at is None:
        run = invocation.client.runs.wait(run.id, timeout_s=math.inf, on_line=take)
    else:
        page = _read(invocation, run.id, take)
        run, dropped_at = page.run, page.dropped_at
    if not is_stream:
        items = items_fields([fields(line) for line in lines])
        document = {"run": fields(run), **items, "dropped_at": dropped_at}
        invocation.output.show(CommandResult(document, []))
    ended = f": {run.verdict.verdict}" if run.verdict else ""
    invocation.output.note(clean(f"run {run.id} is {standing(run)}{ended}"))
    if dropped_at is not None:
        invocation.output.note(clean(_explain_dropped_log(run, dropped_at)))


def _explain_dropped_log(run: "RunInfo", dropped_at: str) -> str:
    """Explain that the log was dropped, and what is left."""
    hint = "" if run.verdict is None else f"; what it found: deltareg verdict show {run.verdict.id}"
    when = dropped_at[:16].replace("T", " ")
    return f"its log was dropped on {when} UTC, long after its end{hint}"


def _read(invocation: Invocation, run_id: str, take: Callable[["LogLine"], None]) -> "RunLog":
    """Read a log to its end, and return the last page."""
    page = invocation.client.runs.log(run_id)
    while page.items:
        for line in page.items:
            take(line)
        page = invocation.client.runs.log(run_id, after=page.next_seq)
    return page


@command(
    "rerun",
    Example("queue it once more", "deltareg verdict rerun ID"),
    Example("and wait", "deltareg verdict rerun ID --wait"),
    see_also=("verify", "verdict cancel"),
    is_resumable=True,
)
@click.argument("named", metavar="ID|REF", help=_ANY_ID)
@option("--wait", is_flag=True, help="Wait for the verdict.")
@timeout_option()
@click.pass_obj
def rerun(invocation: Invocation, named: str, *, wait: bool, timeout: float) -> ExitStatus:
    """Queue a verification once more.

    The suite is taken as it is now, and the worker must offer what it had to before. With --wait
    the exit status is the verdict: 0 pass, 8 fail, 11 inconclusive.
    """
    run = invocation.client.runs.rerun(named)
    if wait:
        run = wait_for(invocation, run, timeout_s=timeout)
    invocation.output.show(run_answer(run, invocation))
    return run_status(run) if wait else ExitStatus.DONE


@command(
    "cancel",
    Example("a run that waits, or is under way", "deltareg verdict cancel ID"),
    see_also=("verdict ls", "verdict rerun"),
)
@click.argument("named", metavar="ID|REF", help=_ANY_ID)
@click.pass_obj
def cancel(invocation: Invocation, named: str) -> None:
    """End a run that waits or is under way.

    No verdict comes of it. The worker of a run under way learns of it within a heartbeat, and goes
    on with another one. A run that has ended already is a conflict, exit status 5.
    """
    run = invocation.client.runs.cancel(named)
    invocation.output.show(run_answer(run, invocation))


for _command in (ls, show, logs, rerun, cancel, waive, unwaive, continue_, export, verify):
    verdict.add_command(_command)
