"""`deltareg request`: moves that others have to approve."""

from typing import TYPE_CHECKING

import click

from deltareg.words import REQUEST_STATES
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import (
    ChannelParam,
    cursor_option,
    limit_option,
    message_option,
    option,
    required_reason_option,
)
from deltareg_cli.runs.waiting import request_answer
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.requests import request_table

if TYPE_CHECKING:
    from deltareg.wire import RequestState

ORDER = 80

id_argument = click.argument("number", metavar="ID", type=click.IntRange(1), help="As request ls names it.")


@group(
    "request",
    Example("what waits for approvals", "deltareg request ls --state open"),
    Example("agree", 'deltareg request approve 12 -m "the diff looks right"'),
    see_also=("promote", "gate", "audit"),
)
def request() -> None:
    """Approve what others want to promote.

    Where a channel asks for approvals, promote opens a request. Who pushed the version and who
    opened the request do not approve it: the database itself refuses that. The last approval that
    is due moves the channel, if the gate is met then.

    A request is stale once the channel has moved on or its policy has changed: whoever still wants
    the move promotes again, and it is approved anew.
    """


@command(
    "ls",
    Example("what waits", "deltareg request ls --state open"),
    Example("of one line", "deltareg request ls me/chat --channel prod"),
    see_also=("request show", "request approve"),
)
@click.argument("line", metavar="[NS/NAME]", required=False, help="Only of this line.")
@option("--state", type=click.Choice(REQUEST_STATES), help="Only in this state.")
@option("--channel", type=ChannelParam(), help="Only for this channel.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(
    invocation: Invocation,
    line: str | None,
    *,
    state: "RequestState | None",
    channel: str | None,
    limit: int,
    cursor: str | None,
) -> None:
    """List requests, newest first."""
    page = invocation.client.requests.list(line, state=state, channel=channel, cursor=cursor, limit=limit)
    table = request_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [str(r.id) for r in page.items]))
    note_more(invocation.output, page.next_cursor)


@command(
    "show",
    Example("who agreed, what is missing", "deltareg request show 12"),
    see_also=("request approve", "diff", "verdict"),
)
@id_argument
@click.pass_obj
def show(invocation: Invocation, number: int) -> None:
    """Show a request: who wants what, who agreed, what is unmet."""
    info = invocation.client.requests.show(number)
    invocation.output.show(request_answer(info, invocation))


@command(
    "approve",
    Example("agree", "deltareg request approve 12"),
    Example("and say why", 'deltareg request approve 12 -m "the diff looks right"'),
    see_also=("request show", "request reject", "audit"),
)
@id_argument
@message_option()
@click.pass_obj
def approve(invocation: Invocation, number: int, *, message: str) -> ExitStatus:
    """Approve a request.

    The last approval that is due moves the channel. If the gate is not met at that moment, the
    request stays open and says what is unmet, and the command ends with 9; promote moves it later.

    Refused with 4 for who pushed the version or opened the request, and 5 when it is not open.
    """
    info = invocation.client.requests.approve(number, message=message)
    invocation.output.show(request_answer(info, invocation))
    is_stuck = info.state == "open" and info.missing == 0
    return ExitStatus.GATE_PENDING if is_stuck else ExitStatus.DONE


@command(
    "reject",
    Example("say no", 'deltareg request reject 12 -m "worse on refunds"'),
    see_also=("request show", "request approve"),
)
@id_argument
@required_reason_option()
@click.pass_obj
def reject(invocation: Invocation, number: int, *, reason: str) -> None:
    """Reject a request, with a reason; who may approve may do this."""
    info = invocation.client.requests.reject(number, reason=reason)
    invocation.output.show(request_answer(info, invocation))


@command("withdraw", Example("never mind", "deltareg request withdraw 12"), see_also=("promote", "request show"))
@id_argument
@click.pass_obj
def withdraw(invocation: Invocation, number: int) -> None:
    """Withdraw a request that you have opened."""
    info = invocation.client.requests.withdraw(number)
    invocation.output.show(request_answer(info, invocation))


for _command in (ls, show, approve, reject, withdraw):
    request.add_command(_command)
