"""`deltareg identity`: who signs in with a provider, and the principal that each is here."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, FactsBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.wording import moment
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

ORDER = 90


@group(
    "identity",
    Example("who signs in here?", "deltareg identity ls"),
    Example("anna-2 is the anna who had tokens before", "deltareg identity link 7 anna"),
    see_also=("auth", "token", "access"),
)
def identity() -> None:
    """Say who is who of those that sign in with a provider.

    Somebody who signs in for the first time becomes a new principal, named after what the provider
    calls them. Nobody gets a principal that was here before: anna is then anna-2, until you link
    them.
    """


@command("ls", Example("all of them", "deltareg identity ls"), see_also=("identity link",))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List who has signed in with a provider, newest first."""
    page = invocation.client.signins.list()
    columns = [
        Column("id", is_number=True),
        Column("principal"),
        Column("provider"),
        Column("email"),
        Column("subject"),
        Column("since"),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(item.id), "name"),
            Cell(f"{item.principal} (disabled)", "bad") if item.is_disabled else item.principal,
            item.provider,
            item.email,
            item.subject,
            moment(item.since, now=invocation.now),
        ]
        for item in page.items
    ]
    table = TableBlock(columns, rows, if_empty="nobody has signed in with a provider")
    invocation.output.show(CommandResult(page_fields(page), [table], [str(item.id) for item in page.items]))


@command(
    "link",
    Example("anna-2 is the anna who had tokens before", "deltareg identity link 7 anna"),
    see_also=("identity ls",),
)
@click.argument("identity_id", metavar="ID", type=click.IntRange(1), help="As identity ls names it.")
@click.argument("principal", metavar="PRINCIPAL", help="Who it is to be.")
@click.pass_obj
def link(invocation: Invocation, identity_id: int, *, principal: str) -> None:
    """Let who signs in be a principal that was here before.

    Make sure that they are the same person: from then on one acts as the other. Where they are
    signed in, they sign in again.
    """
    linked = invocation.client.signins.link(identity_id, principal)
    facts = FactsBlock([("provider", linked.provider), ("email", linked.email), ("subject", linked.subject)])
    blocks: list[Block] = [TitleBlock(f"identity {linked.id}", f"is {linked.principal} now"), facts]
    invocation.output.show(CommandResult(fields(linked, "id"), blocks, [str(linked.id)]))


for _command in (ls, link):
    identity.add_command(_command)
