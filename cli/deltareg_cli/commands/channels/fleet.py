"""`deltareg fleet`: who follows which channel, and who does not serve what it says."""

import click

from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.fleet import fleet_answer, fleet_table

ORDER = 30


@group(
    "fleet",
    Example("who serves what", "deltareg fleet ls"),
    Example("does everybody serve what prod says?", "deltareg fleet drift me/chat@prod"),
    see_also=("agent run", "channel show"),
    of_reference="ls",
)
def fleet() -> None:
    """Look at agents that follow channels, and at what each serves."""


of_argument = click.argument(
    "of", metavar="[OF]", required=False, help="A line, a channel, a version or a digest that is served; else all."
)


@command(
    "ls",
    Example("all", "deltareg fleet ls"),
    Example("of one channel", "deltareg fleet ls me/chat@prod"),
    Example("who serves this version?", "deltareg fleet ls me/chat:v3"),
    Example("the same bytes in any line", "deltareg fleet ls sha256:2a7f4c91"),
    see_also=("fleet drift", "channel show"),
)
@of_argument
@option("--all", "has_all", is_flag=True, help="List every agent with its engine and base, not only the first few.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, of: str | None, *, has_all: bool, limit: int, cursor: str | None) -> None:
    """List what channels say, and what each agent serves of them.

    Those that serve something else come first.

    Drift is none where both are the same; behind while an agent serves something else; revoked while
    it serves a version that was revoked; failed when it cannot serve what the channel says; silent
    when three of its reports did not come.
    """
    page = invocation.client.fleet.list(of, cursor=cursor, limit=limit)
    ids = [f"{item.agent} {item.channel}" for item in page.items]
    is_whole = has_all or invocation.output.is_verbose
    blocks = [fleet_table(page.items)] if is_whole else fleet_answer(page.items)
    invocation.output.show(CommandResult(page_fields(page), blocks, ids))
    note_more(invocation.output, page.next_cursor)


@command(
    "drift",
    Example("does everybody serve what prod says?", "deltareg fleet drift me/chat@prod"),
    see_also=("fleet ls", "channel show", "help exit-codes"),
)
@of_argument
@click.pass_obj
def drift(invocation: Invocation, of: str | None) -> ExitStatus:
    """List the followers that do not serve what their channel says.

    Exit status: 0 none, 10 at least one is behind, failed or silent, or serves what was revoked.
    """
    astray = invocation.client.fleet.astray(of)
    table = fleet_table(astray, if_empty="no drift")
    ids = [f"{item.agent} {item.channel}" for item in astray]
    document = {"items": [fields(follower) for follower in astray]}
    invocation.output.show(CommandResult(document, [table], ids))
    return ExitStatus.DIFFERENT if astray else ExitStatus.DONE


@command("rm", Example("a host that is gone", "deltareg fleet rm host-7"), see_also=("fleet ls",))
@click.argument("name", metavar="AGENT", help="The agent.")
@click.pass_obj
def rm(invocation: Invocation, name: str) -> None:
    """Take an agent that is gone out of the lists.

    One that still runs comes back with its next report. It takes the principal that reported under
    this name, or an admin.
    """
    invocation.client.fleet.forget(name)
    invocation.output.show(CommandResult({"agent": name}, [], [name]))
    invocation.output.note(f"{name} is forgotten")


for _command in (ls, drift, rm):
    fleet.add_command(_command)
