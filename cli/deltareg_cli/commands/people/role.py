"""`deltareg role`: sets of rights with a name of one's own."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.groups import role_table

if TYPE_CHECKING:
    from deltareg.wire import RoleInfo

ORDER = 40

namespace_option = option("--namespace", metavar="NS", help="The namespace; without it all of them.")


@group(
    "role",
    Example("what roles there are", "deltareg role ls"),
    Example("one of your own", "deltareg role set releaser --right promote --right approve"),
    see_also=("member", "group"),
)
def role() -> None:
    """Look at roles, and define some of your own.

    A role is a set of rights. Admins define roles for all namespaces, owners for theirs. Nobody
    defines a role with more than they may do themselves. Whoever holds a role has at once what it
    gives now.
    """


@command(
    "set",
    Example("promotes and approves", "deltareg role set releaser --right promote --right approve"),
    Example("in one namespace", "deltareg role set trainer --right push --namespace team"),
    see_also=("role ls", "member add"),
)
@click.argument("name", metavar="ROLE", help="Its name, which no built-in role has.")
@option("--right", "rights", required=True, multiple=True, metavar="RIGHT", help="What it gives, beside to read.")
@namespace_option
@click.pass_obj
def set_(invocation: Invocation, name: str, *, rights: tuple[str, ...], namespace: str | None) -> None:
    """Define a role, or change what it gives.

    The rights are push, promote, approve, serve, break-glass and maintain, which is to give roles to
    others. Everybody who holds a role may read.
    """
    _show(invocation, invocation.client.access.set_role(name, rights, namespace=namespace))


@command("ls", Example("those for all namespaces", "deltareg role ls"), see_also=("member add", "role set"))
@click.argument("namespace", metavar="[NS]", required=False, help="Those that may be given there.")
@click.pass_obj
def ls(invocation: Invocation, namespace: str | None) -> None:
    """List roles, with what they give."""
    roles = invocation.client.access.list_roles(namespace)
    document = {"items": [as_it_is(item) for item in roles]}
    invocation.output.show(CommandResult(document, [role_table(roles)], [item.name for item in roles]))


@command("rm", Example("of all namespaces", "deltareg role rm releaser"), see_also=("role ls", "member rm"))
@click.argument("name", metavar="ROLE", help="The role.")
@namespace_option
@click.pass_obj
def rm(invocation: Invocation, name: str, *, namespace: str | None) -> None:
    """Remove a role; whoever holds it loses it at once."""
    invocation.confirm(f"Remove the role {name} and take it from all who hold it?")
    _show(invocation, invocation.client.access.remove_role(name, namespace=namespace))


def _show(invocation: Invocation, item: "RoleInfo") -> None:
    invocation.output.show(CommandResult(as_it_is(item), [role_table([item])], [item.name]))


for _command in (set_, ls, rm):
    role.add_command(_command)
