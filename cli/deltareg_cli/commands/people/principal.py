"""`deltareg principal`: people, service accounts and machines, and what becomes of them."""

from typing import TYPE_CHECKING

import click

from deltareg.words import PRINCIPAL_KINDS, PrincipalKind
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.principals import principal_blocks, principal_table

if TYPE_CHECKING:
    from deltareg.wire import PrincipalInfo

ORDER = 60


@group(
    "principal",
    Example("ana leaves today", "deltareg principal disable ana"),
    Example("her script is ben's now", "deltareg principal give ci-bot --to ben"),
    see_also=("member", "token", "access"),
)
def principal() -> None:
    """Disable people and machines, and hand accounts over.

    A person acts for themselves. A service account or a machine acts for its owner, a person or a
    group: in a rule about people, such as four eyes, it counts as them.
    """


@command("ls", Example("all of them", "deltareg principal ls"), see_also=("principal show",))
@option("--kind", type=click.Choice(PRINCIPAL_KINDS), help="user for people, service for scripts, worker for machines.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, *, kind: PrincipalKind | None, limit: int, cursor: str | None) -> None:
    """List principals, and whom they act for."""
    page = invocation.client.principals.list(kind=kind, cursor=cursor, limit=limit)
    table = principal_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [item.name for item in page.items]))
    note_more(invocation.output, page.next_cursor)


@command(
    "show",
    Example("what ana would leave", "deltareg principal show ana"),
    see_also=("principal disable", "access explain"),
)
@click.argument("name", metavar="NAME", help="Who.")
@click.pass_obj
def show(invocation: Invocation, name: str) -> None:
    """Show what a principal has, and what it would leave behind."""
    _show(invocation, invocation.client.principals.show(name))


@command(
    "disable",
    Example("what would happen", "deltareg principal disable ana --dry-run"),
    Example("at once", "deltareg principal disable ana"),
    see_also=("principal enable", "principal give"),
)
@click.argument("name", metavar="NAME", help="Who.")
@dry_run("Only show what there is, and what it leaves.")
@click.pass_obj
def disable(invocation: Invocation, name: str) -> None:
    """Disable a person, a service account or a machine.

    From the next request on none of its tokens works and none of its sessions; what is queued for
    it is cancelled. Its roles, uploads and drafts stay, and are of no use to it.

    What it leaves is listed, with the command that takes it over.
    """
    principals = invocation.client.principals
    _show(invocation, principals.show(name) if invocation.globals.dry_run else principals.disable(name))


@command("enable", Example("ana is back", "deltareg principal enable ana"), see_also=("token create",))
@click.argument("name", metavar="NAME", help="Who.")
@click.pass_obj
def enable(invocation: Invocation, name: str) -> None:
    """Enable a principal again, with the roles that it had.

    Its tokens stay revoked: make it a new one.
    """
    _show(invocation, invocation.client.principals.enable(name))


@command(
    "give",
    Example("to a colleague", "deltareg principal give ci-bot --to ben"),
    see_also=("token create", "principal show"),
)
@click.argument("name", metavar="NAME", help="The service account or the machine.")
@option("--to", required=True, metavar="OWNER", help="A person or a group.")
@click.pass_obj
def give(invocation: Invocation, name: str, *, to: str) -> None:
    """Hand a service account or a machine over to another owner.

    Its tokens are revoked, as who had them knows them. What it did counts as its former owner's
    work, too; what it does from now on does not.
    """
    _show(invocation, invocation.client.principals.give(name, to))
    invocation.output.note(f"its tokens are revoked: deltareg token create --for {name} --acts-for {to}")


def _show(invocation: Invocation, found: "PrincipalInfo") -> None:
    blocks = principal_blocks(found, now=invocation.now)
    invocation.output.show(CommandResult(fields(found, "name"), blocks, [found.name]))


for _command in (ls, show, disable, enable, give):
    principal.add_command(_command)
