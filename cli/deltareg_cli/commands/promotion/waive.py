"""`deltareg verdict waive`, `unwaive` and `continue`: answer for a failed check, for a while."""

import click

from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, option, required_reason_option, timeout_option
from deltareg_cli.runs.waiting import run_answer, run_status, verdict_answer, wait_for
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

verdict_argument = click.argument("verdict_id", metavar="ID", help="The verdict, as `verdict ls` names it.")
check_option = option("--check", required=True, metavar="NAME", help="The check that failed.")


@command(
    "waive",
    Example(
        "for prod, and for a month",
        'deltareg verdict waive ID --check perplexity --channel prod -m "JIRA-12" --expires 30d',
    ),
    see_also=("verdict show", "verdict unwaive", "channel policy explain"),
)
@verdict_argument
@check_option
@option("--channel", required=True, type=ChannelParam(), help="The channel that it is for.")
@required_reason_option()
@option(
    "--expires",
    default="30d",
    show_default=True,
    metavar="DURATION|TIME",
    help="When it ends: 30d, or an RFC 3339 time or date (UTC).",
)
@click.pass_obj
def waive(invocation: Invocation, verdict_id: str, *, check: str, channel: str, reason: str, expires: str) -> None:
    """Answer for a failed check, for a channel and a while.

    Until then it does not fail the gate of that channel.

    It takes the right to promote, and another person than the one who pushed the version. Checks
    that show bytes, base or computation to be other than they claim, or the delta to do nothing,
    are never waived: digests, accounting, finite, overflow, idle, effect, exercised, reloads,
    attached_equals_folded, golden. The verdict stays fail; the waiver is shown with it, at gate
    check, and in the audit trail. Once it has expired the check fails again.

    A check that looks at stored values keeps those after it from running. They are queued with the
    waiver, and the verdict of that run decides: it has the waiver, and whatever fails in it fails.
    """
    waived = invocation.client.verdicts.waive(verdict_id, check, channel=channel, reason=reason, expires=expires)
    if waived.continuation:
        invocation.output.note(f"what was skipped runs now: deltareg verdict logs {waived.continuation} -f")
    invocation.output.show(verdict_answer(waived, invocation))


@command(
    "unwaive",
    Example("it fails again", "deltareg verdict unwaive ID --check perplexity"),
    see_also=("verdict waive", "verdict show"),
)
@verdict_argument
@check_option
@option("--channel", type=ChannelParam(), help="For this channel only; for all where it is left out.")
@click.pass_obj
def unwaive(invocation: Invocation, verdict_id: str, *, check: str, channel: str | None) -> None:
    """End the waiver of a check: it fails again.

    So it does in the verdict of a run that took the waiver over. The waiver and who ended it stay
    in the record. It takes the right to promote.
    """
    waiver = invocation.client.verdicts.unwaive(verdict_id, check, channel=channel)
    invocation.output.show(verdict_answer(waiver, invocation))


@command(
    "continue",
    Example("and wait for its verdict", "deltareg verdict continue ID --wait"),
    see_also=("verdict waive", "verdict logs", "gate check"),
    is_resumable=True,
)
@verdict_argument
@option("--wait", is_flag=True, help="Wait for the verdict.")
@timeout_option(help="How long to wait; the run goes on after that.")
@click.pass_obj
def continue_(invocation: Invocation, verdict_id: str, *, wait: bool, timeout: float) -> ExitStatus:
    """Run what a waived verdict left out.

    A waiver queues that by itself; this queues it again where the run was cancelled or led to
    nothing, or joins the one under way. It takes the right to promote.
    """
    run = invocation.client.verdicts.continue_(verdict_id)
    if wait:
        run = wait_for(invocation, run, timeout_s=timeout)
    invocation.output.show(run_answer(run, invocation))
    return run_status(run) if wait else ExitStatus.DONE
