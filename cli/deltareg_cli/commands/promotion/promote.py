"""`deltareg promote`: put a version on a channel."""

from functools import partial
from typing import TYPE_CHECKING

import click

from deltareg.errors import ApprovalDue, Conflict, InvalidInput
from deltareg.refs import Ref
from deltareg_cli.exits import ExitStatus, gate_status
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import (
    ChannelParam,
    VersionNumber,
    accept_undecided_option,
    accept_warnings_option,
    break_glass_option,
    new_base_option,
    option,
    reason_option,
    timeout_option,
)
from deltareg_cli.runs.waiting import request_answer, wait_for_request
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.channels import MOVE_FIELDS, gate_blocks, move_blocks, move_details
from deltareg_cli.views.warnings import warn_of

if TYPE_CHECKING:
    from deltareg.wire import MoveResult

ORDER = 70


@command(
    "promote",
    Example("serve it from now on", "deltareg promote me/chat:v3 --channel prod"),
    Example(
        "only if prod still serves v2",
        'deltareg promote me/chat:v3 --channel prod --if-current v2 -m "better on refunds"',
    ),
    Example(
        "although its verdict warns, to a protected channel",
        "deltareg promote me/chat:v3 --channel prod --accept-warnings -m REASON",
    ),
    Example(
        "although 50 rows do not decide it",
        'deltareg promote me/chat:v3 --channel prod --accept-undecided -m "more rows next week"',
    ),
    Example("trained on another base than prod serves", "deltareg promote me/chat:v3 --channel prod --new-base"),
    Example("and wait until it was approved", "deltareg promote me/chat:v3 --channel prod --wait --timeout 2h"),
    see_also=("gate", "request", "rollback", "channel", "help exit-codes"),
    is_resumable=True,
)
@click.argument("ref", help="The version, named exactly: ns/name:v3, ns/name@staging.")
@option("--channel", required=True, type=ChannelParam(), help="The channel that shall serve it.")
@option("--if-current", type=VersionNumber(), metavar="vN", help="Move only if the channel serves this version now.")
@reason_option()
@accept_warnings_option()
@accept_undecided_option()
@new_base_option()
@option("--wait", is_flag=True, help="Wait until others have approved, where that is due.")
@timeout_option(help="How long to wait; the request stays open after that.")
@break_glass_option()
@dry_run("Ask the gate and move nothing.")
@click.pass_obj
def promote(
    invocation: Invocation,
    ref: str,
    *,
    channel: str,
    if_current: int | None,
    reason: str,
    accept_warnings: bool,
    accept_undecided: bool,
    new_base: bool,
    wait: bool,
    timeout: float,
    break_glass: bool,
) -> ExitStatus:
    """Put a version on a channel, if its gate allows.

    Moves are entries of an append-only ledger. If somebody else moves the channel at the same
    time, one of the two fails with exit status 5 and nothing is lost. A version that the channel
    serves already stays there, with 0, so that a job can be run again. Warnings of the verdicts
    that count are shown beside the move. A protected channel takes such a version only
    with --accept-warnings, and the ledger's audit row says which were accepted.

    A required comparison that the samples do not decide asks for more of them. With
    --accept-undecided and -m you answer for it, for 30 days: that is a waiver, and shown as one.

    A serving host holds one base. So a version for another base than the channel serves is refused
    until --new-base, or the channel's policy, allows it.

    A bare NS/NAME would be its newest version: that is asked about, and refused where nobody can
    be asked, unless --yes says so.

    Where the channel asks for approvals, nothing moves: a request is opened, or joined, and the
    command ends with 9. Others approve it (deltareg request approve), and the last approval moves
    the channel. With --wait this command waits for that.

    With --break-glass neither the gate nor approvals are asked. That takes a token made for it and
    a reason, stands in the ledger for good, and somebody else has to review it within a day.

    Refused with 8 when a verdict is fail, 9 when one is missing, 11 when one is inconclusive, 13
    when the version is quarantined there, revoked or deleted, or for another base than the channel
    serves, or the channel is frozen.
    """
    if invocation.globals.dry_run:
        answer = invocation.client.gate(
            ref, channel, accept_warnings=accept_warnings, new_base=new_base, accept_undecided=accept_undecided
        )
        warnings = warn_of(invocation, answer.ref)
        document = {**fields(answer, "allowed", "unmet"), "warnings": warnings, "dry_run": True}
        invocation.output.show(CommandResult(document, gate_blocks(answer), [answer.ref]))
        return ExitStatus.DONE if answer.allowed else gate_status([rule.rule for rule in answer.unmet])
    ref = _exact(invocation, ref, channel)
    line = str(Ref.parse(ref).line)
    act = partial(
        invocation.client.promote,
        channel=channel,
        reason=reason,
        if_current=if_current,
        break_glass=break_glass,
        accept_warnings=accept_warnings,
        new_base=new_base,
        accept_undecided=accept_undecided,
    )
    try:
        move = act(ref)
    except ApprovalDue as due:
        if not wait:
            return _show_request(invocation, due)
        move = wait_for_request(invocation, due.request, timeout_s=timeout, retry=act)
    except Conflict as conflict:
        current = _find_already_served(invocation, ref, channel) if type(conflict) is Conflict else None
        if current is None:
            raise
        move = current
    _show_move(invocation, move, line)
    return ExitStatus.DONE


def _exact(invocation: Invocation, ref: str, channel: str) -> str:
    """Return the exact reference; for a bare line its newest version, if the user confirms it.

    Raises:
        InvalidInput: Nobody is there to confirm it.
    """
    if not Ref.parse(ref).is_bare:
        return ref
    newest = invocation.client.show(ref).ref
    if not (invocation.globals.yes or invocation.may_ask):
        raise InvalidInput(
            f"{ref} names no version, and its newest may not be the one that you mean",
            fix=f"deltareg promote {newest} --channel {channel}",
        )
    invocation.confirm(f"Promote {newest}, the newest, to {channel}?")
    return newest


def _find_already_served(invocation: Invocation, ref: str, channel: str) -> "MoveResult | None":
    """Return the move of a channel that serves the version already: it moves nothing."""
    version = invocation.client.show(ref)
    info = invocation.client.channels.show(str(Ref.parse(ref).line), channel)
    if info.digest != version.digest:
        return None
    from deltareg.wire import MoveResult  # messages load when something is asked

    return MoveResult(
        channel=info.channel,
        revision=info.revision,
        kind="promote",
        version=info.version,
        digest=info.digest,
        previous=info.version,
        ref=info.ref or "",
    )


def _show_move(invocation: Invocation, move: "MoveResult", line: str) -> None:
    ref = f"{line}:v{move.version}"
    warnings = warn_of(invocation, ref)
    document = {**fields(move, *MOVE_FIELDS), "is_changed": move.previous != move.version, "warnings": warnings}
    invocation.output.show(CommandResult(document, move_blocks(move, line), [ref], move_details(move)))


def _show_request(invocation: Invocation, due: ApprovalDue) -> ExitStatus:
    """Show the request that the promotion opened instead: nothing has moved."""
    request = invocation.client.requests.show(due.request)
    invocation.output.show(request_answer(request, invocation))
    invocation.output.note(f"nothing has moved yet: {due.message}")
    invocation.output.note(f"fix: {due.fix}")
    return ExitStatus.GATE_PENDING
