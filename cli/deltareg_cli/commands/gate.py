"""`deltareg gate`: ask whether a version may go to a channel."""

import click

from deltareg_cli.blocks import Answer
from deltareg_cli.command_tree import command, group
from deltareg_cli.documents import fields
from deltareg_cli.exits import Exit, gate_status
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import Channel, option
from deltareg_cli.views.channels import gate_blocks


@group(
    "gate",
    Example("may it go to prod?", "deltareg gate check me/chat:v3 --channel prod"),
    see_also=("promote", "verify"),
)
def gate() -> None:
    """Ask whether a version may go to a channel."""


@command(
    "check",
    Example("may it go to prod?", "deltareg gate check me/chat:v3 --channel prod"),
    see_also=("promote", "verify", "help exit-codes"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@option("--channel", required=True, type=Channel(), help="The channel that it would go to.")
@click.pass_obj
def check(invocation: Invocation, ref: str, *, channel: str) -> Exit:
    """Ask whether a version may go to a channel.

    Lists what is unmet, each with the command that would change it. Nothing is changed. Exit
    status: 0 allowed, 8 a verdict is fail, 9 a verdict is missing, 11 a verdict is inconclusive,
    13 revoked, quarantined, deleted or frozen.
    """
    answer = invocation.client.gate(ref, channel)
    invocation.output.show(
        Answer(fields(answer, "allowed", "unmet"), gate_blocks(answer), [answer.ref])
    )
    return Exit.DONE if answer.allowed else gate_status([rule.rule for rule in answer.unmet])


gate.add_command(check)
