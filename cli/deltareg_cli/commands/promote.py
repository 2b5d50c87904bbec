"""`deltareg promote`: put a version on a channel."""

import click

from deltareg.refs import Ref
from deltareg_cli.blocks import Answer
from deltareg_cli.command_tree import command
from deltareg_cli.documents import fields
from deltareg_cli.exits import Exit, gate_status
from deltareg_cli.global_options import dry_run
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import Channel, VersionNumber, option, reason_option
from deltareg_cli.views.channels import MOVE_FIELDS, gate_blocks, move_blocks


@command(
    "promote",
    Example("serve it from now on", "deltareg promote me/chat:v3 --channel prod"),
    Example(
        "only if prod still serves v2",
        'deltareg promote me/chat:v3 --channel prod --if-current v2 -m "better on refunds"',
    ),
    see_also=("gate", "rollback", "channel", "help exit-codes"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@option("--channel", required=True, type=Channel(), help="The channel that shall serve it.")
@option(
    "--if-current",
    type=VersionNumber(),
    metavar="vN",
    help="Move only if the channel serves this version now.",
)
@reason_option()
@dry_run("Ask the gate and move nothing.")
@click.pass_obj
def promote(
    invocation: Invocation, ref: str, *, channel: str, if_current: int | None, reason: str
) -> Exit:
    """Put a version on a channel, if its gate allows.

    Moves are entries of an append-only ledger. If somebody else moves the channel at the same
    time, one of the two fails with exit status 5 and nothing is lost.

    Refused with 8 when a verdict is fail, 9 when one is missing, 11 when one is inconclusive, 13
    when the version is quarantined there, revoked or deleted, or the channel is frozen.
    """
    if invocation.globals.dry_run:
        answer = invocation.client.gate(ref, channel)
        document = {**fields(answer, "allowed", "unmet"), "dry_run": True}
        invocation.output.show(Answer(document, gate_blocks(answer), [answer.ref]))
        return Exit.DONE if answer.allowed else gate_status([rule.rule for rule in answer.unmet])
    move = invocation.client.promote(ref, channel, reason=reason, if_current=if_current)
    line = str(Ref.parse(ref).line)
    invocation.output.show(
        Answer(fields(move, *MOVE_FIELDS), move_blocks(move, line), [f"{line}:v{move.version}"])
    )
    return Exit.DONE
