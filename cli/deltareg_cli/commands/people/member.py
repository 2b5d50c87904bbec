"""`deltareg member`: who holds which role in a namespace, or everywhere."""

from typing import TYPE_CHECKING

import click

from deltareg.errors import NotFound
from deltareg.words import ROLES
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.access import member_blocks, member_table

if TYPE_CHECKING:
    from deltareg.wire import MemberInfo

ORDER = 30

_ROLES = f"Which role: {', '.join(ROLES)}, or one of your own."
_PATTERN = "Only these lines, 'bert-*', or channels, 'bert-*@prod'."


@group(
    "member",
    Example("a colleague may push", "deltareg member add team ana --role pusher"),
    Example("a group may", "deltareg member add team ml --role pusher"),
    Example("who may do what there", "deltareg member ls team"),
    see_also=("access", "namespace", "token"),
)
def member() -> None:
    """Give people and groups roles in a namespace, or take them.

    Who makes a namespace, by pushing into it first, owns it, and gives others roles in it. All
    read: a reader does no more, a pusher pushes, a promoter promotes, an approver approves, a
    server reports what a host serves. A maintainer does all of that and gives it to others; an
    owner also says what channels ask, deletes, and says who sees the namespace. Whoever has
    break-glass moves a channel past its gate.

    Two roles are for everywhere: verifier, for workers, and admin, who does all but break glass.

    Nobody gives what they lack. A token allows what its scopes and the roles of its principal
    both allow, at the moment of use.
    """


@command(
    "add",
    Example("may push", "deltareg member add team ana --role pusher"),
    Example("may promote some lines to prod", "deltareg member add team ana --role promoter --pattern 'bert-*@prod'"),
    Example("reads all namespaces", "deltareg member add --everywhere ana --role reader"),
    see_also=("member rm", "access explain"),
)
@click.argument("namespace", metavar="NS", help="The namespace; left out with --everywhere.")
@click.argument("principal", metavar="[PRINCIPAL]", required=False, help="Who gets the role, or which group.")
@option("--role", required=True, metavar="ROLE", help=_ROLES)
@option("--pattern", default="", metavar="PATTERN", help=_PATTERN)
@option("--everywhere", is_flag=True, help="In all namespaces, as an admin gives it.")
@click.pass_obj
def add(
    invocation: Invocation, namespace: str, principal: str | None, *, role: str, pattern: str, everywhere: bool
) -> None:
    """Give a person, a service, a worker or a group a role.

    One that it holds there already is left as it is.
    """
    place, name = _read_names(namespace, principal, everywhere=everywhere)
    grant = invocation.client.members.add(name, role, namespace=place, pattern=pattern)
    _show(invocation, grant, what="given")


@command(
    "ls",
    Example("of a namespace", "deltareg member ls team"),
    Example("that reach everything", "deltareg member ls --everywhere"),
    see_also=("member add", "access review"),
)
@click.argument("namespace", metavar="[NS]", required=False, help="The namespace.")
@option("--everywhere", is_flag=True, help="The roles that reach all namespaces.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, namespace: str | None, *, everywhere: bool, limit: int, cursor: str | None) -> None:
    """List the roles in a namespace, or those that reach everything."""
    if (namespace is None) != everywhere:
        raise click.UsageError("name a namespace, or --everywhere")
    page = invocation.client.members.list(namespace, cursor=cursor, limit=limit)
    table = member_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [str(m.id) for m in page.items]))
    note_more(invocation.output, page.next_cursor)


@command(
    "rm",
    Example("one role", "deltareg member rm team ana --role pusher"),
    Example("all that ana has there", "deltareg member rm team ana"),
    see_also=("member ls", "access review"),
)
@click.argument("namespace", metavar="NS", help="The namespace; left out with --everywhere.")
@click.argument("principal", metavar="[PRINCIPAL]", required=False, help="Whose role it is.")
@option("--role", metavar="ROLE", help="Only this role.")
@option("--pattern", default=None, metavar="PATTERN", help="Only the one with this pattern.")
@option("--everywhere", is_flag=True, help="What reaches all namespaces.")
@click.pass_obj
def rm(
    invocation: Invocation,
    namespace: str,
    principal: str | None,
    *,
    role: str | None,
    pattern: str | None,
    everywhere: bool,
) -> None:
    """Take roles away from somebody.

    It holds at once: the next request of any of their tokens is refused.

    Everybody may give up their own. The last owner of a namespace stays.
    """
    place, name = _read_names(namespace, principal, everywhere=everywhere)
    grants = [
        item
        for item in invocation.client.members.list(place)
        if item.principal == name and role in {None, item.role} and pattern in {None, item.pattern}
    ]
    if not grants:
        raise NotFound(
            f"{name} holds no such role" + (f" in {place}" if place else " everywhere"),
            fix=f"deltareg member ls {place or '--everywhere'}",
        )
    for item in grants:
        _show(invocation, invocation.client.members.end(item.id), what="taken away")


def _read_names(namespace: str, principal: str | None, *, everywhere: bool) -> tuple[str | None, str]:
    """Parse the arguments: namespace and principal, or with --everywhere the principal alone."""
    if everywhere and principal is not None:
        raise click.UsageError("with --everywhere only the principal is named")
    if everywhere:
        return None, namespace
    if principal is None:
        raise click.UsageError("name the namespace and the principal, or --everywhere")
    return namespace, principal


def _show(invocation: Invocation, found: "MemberInfo", *, what: str) -> None:
    blocks = member_blocks(found, what=what)
    invocation.output.show(CommandResult(fields(found, "id"), blocks, [str(found.id)]))


for _command in (add, ls, rm):
    member.add_command(_command)
