"""`deltareg group`: people who hold roles together."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import as_it_is, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.groups import group_blocks, group_table

if TYPE_CHECKING:
    from deltareg.wire import GroupDetail

ORDER = 20


@group(
    "group",
    Example("two people who may push to team", "deltareg group add ml ana ben"),
    Example("then", "deltareg member add team ml --role pusher"),
    see_also=("member", "role", "apply"),
)
def group_() -> None:
    """Give roles to several people at once.

    A group holds roles as a person does (deltareg member add), and its members hold what it holds
    from the moment on that they are in it. People and services are in groups; groups are not. A
    group acts by its members: it has no token.

    Admins make groups and say who is in them. The members of a group that has a source come from
    that sign-in provider. A group is seen by admins, by its members, and by those who manage members
    of a namespace where it holds a role.
    """


@command(
    "add",
    Example("make it, with two people", "deltareg group add ml ana ben"),
    Example("one more", "deltareg group add ml cy"),
    Example("its members come from a sign-in provider", "deltareg group add platform --source okta"),
    see_also=("group rm", "member add"),
)
@click.argument("name", metavar="GROUP", help="The group; it is made where it is missing.")
@click.argument("members", metavar="[MEMBER]...", nargs=-1, help="Who comes into it: people and services.")
@option("--source", metavar="PROVIDER", help="The sign-in provider that keeps its members; '' for none.")
@click.pass_obj
def add(invocation: Invocation, name: str, members: tuple[str, ...], *, source: str | None) -> None:
    """Make a group, or take people into it."""
    if members and source:
        raise click.UsageError(f"{source} says who is in {name}: name no members")
    groups = invocation.client.groups
    known = {item.name for item in groups.list(limit=200)}
    detail = groups.set(name, source=source)
    for member in members:
        detail = groups.join(name, member)
    _show(invocation, detail, what="group" if name in known else "group, made")


@command(
    "rm",
    Example("take one out", "deltareg group rm ml ben"),
    Example("the whole group", "deltareg group rm ml"),
    see_also=("group add", "member rm"),
)
@click.argument("name", metavar="GROUP", help="The group.")
@click.argument("members", metavar="[MEMBER]...", nargs=-1, help="Who leaves it; nobody named is the whole group.")
@click.pass_obj
def rm(invocation: Invocation, name: str, members: tuple[str, ...]) -> None:
    """Take people out of a group, or remove it with its roles.

    It holds at once. Somebody has to stay who owns each namespace, and an admin.
    """
    groups = invocation.client.groups
    if not members:
        detail = groups.show(name)
        people = ", ".join(member.name for member in detail.members) or "nobody is in it"
        invocation.confirm(f"Remove the group {name} ({people}) and its {len(detail.roles)} roles?")
        _show(invocation, groups.remove(name), what="group, removed")
        return
    left = [groups.leave(name, member) for member in members]
    _show(invocation, left[-1], what="group")


@command("ls", Example("all that you see", "deltareg group ls"), see_also=("group show",))
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, *, limit: int, cursor: str | None) -> None:
    """List groups."""
    page = invocation.client.groups.list(cursor=cursor, limit=limit)
    names = [item.name for item in page.items]
    invocation.output.show(CommandResult(page_fields(page), [group_table(page.items, now=invocation.now)], names))
    note_more(invocation.output, page.next_cursor)


@command("show", Example("who is in it", "deltareg group show ml"), see_also=("group ls", "member ls"))
@click.argument("name", metavar="GROUP", help="The group.")
@click.pass_obj
def show(invocation: Invocation, name: str) -> None:
    """Show who is in a group, and what it holds."""
    _show(invocation, invocation.client.groups.show(name), what="group")


def _show(invocation: Invocation, detail: "GroupDetail", *, what: str) -> None:
    blocks = group_blocks(detail, what=what, now=invocation.now)
    invocation.output.show(CommandResult(as_it_is(detail), blocks, [detail.name]))


for _command in (add, rm, ls, show):
    group_.add_command(_command)
