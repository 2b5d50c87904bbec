"""`deltareg verdict`: verdicts that were given."""

import click

from deltareg_cli.blocks import Answer
from deltareg_cli.command_tree import command, group
from deltareg_cli.commands.waive import unwaive, waive
from deltareg_cli.documents import fields, page_fields
from deltareg_cli.exits import OUTCOME_STATUS, Exit
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.views.verdicts import RESULT_FIELDS, verdict_blocks, verdict_table


@group(
    "verdict",
    Example("the verdicts of a version", "deltareg verdict ls me/chat:v3"),
    Example("one of them, check by check", "deltareg verdict show ID"),
    see_also=("verify", "gate"),
)
def verdict() -> None:
    """Look at verdicts, check by check, and waive a check."""


@command(
    "ls", Example("newest first", "deltareg verdict ls me/chat:v3"), see_also=("verdict show",)
)
@click.argument("ref", help="Whose verdicts; a bare NS/NAME is its newest version.")
@click.pass_obj
def ls(invocation: Invocation, ref: str) -> None:
    """List the verdicts of a version, newest first.

    A verdict counts while the version, its base and the suite are what they were.
    """
    page = invocation.client.verdicts(ref)
    table = verdict_table(page.items, now=invocation.now)
    ids = [verdict.id for verdict in page.items]
    invocation.output.show(Answer(page_fields(page), [table], ids))


@command(
    "show",
    Example("check by check", "deltareg verdict show ID"),
    see_also=("verdict ls", "help exit-codes"),
)
@click.argument("verdict_id", metavar="ID", help="The verdict, as `verdict ls` names it.")
@click.pass_obj
def show(invocation: Invocation, verdict_id: str) -> Exit:
    """Show a verdict with its checks.

    Each check has its value, threshold and baseline; the environment is named. The exit status is
    the verdict: 0 pass, 8 fail, 11 inconclusive.
    """
    found = invocation.client.verdict(verdict_id)
    blocks = verdict_blocks(found, now=invocation.now)
    invocation.output.show(Answer(fields(found, *RESULT_FIELDS), blocks, [found.id]))
    return OUTCOME_STATUS[found.verdict]


for _command in (ls, show, waive, unwaive):
    verdict.add_command(_command)
