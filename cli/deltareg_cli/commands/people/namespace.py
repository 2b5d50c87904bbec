"""`deltareg namespace`: whose a namespace is, and who sees it."""

from typing import TYPE_CHECKING

import click

from deltareg.words import VISIBILITIES
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.access import namespace_blocks, namespace_table
from deltareg_cli.views.principals import namespace_request_blocks, namespace_request_table

if TYPE_CHECKING:
    from deltareg.wire import NamespaceInfo, NamespaceRequestInfo, Visibility

ORDER = 10


@group(
    "namespace",
    Example("whose it is", "deltareg namespace show team"),
    Example("for its members alone", "deltareg namespace visibility team private"),
    see_also=("member", "access", "ls"),
)
def namespace() -> None:
    """Look at namespaces, and say who sees them.

    A private namespace is there for its members alone: to others it does not exist. An internal
    one, which each is at first, is read by everybody with a token. A public one is read without a
    token, too, where the server allows that (DELTAREG_ANONYMOUS_READING).
    """


@command("ls", Example("all that you see", "deltareg namespace ls"), see_also=("ls",))
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, *, limit: int, cursor: str | None) -> None:
    """List namespaces with their owners."""
    page = invocation.client.namespaces.list(cursor=cursor, limit=limit)
    names = [item.name for item in page.items]
    invocation.output.show(CommandResult(page_fields(page), [namespace_table(page.items)], names))
    note_more(invocation.output, page.next_cursor)


@command("show", Example("whose it is", "deltareg namespace show team"), see_also=("member ls",))
@click.argument("name", metavar="NS", help="The namespace.")
@click.pass_obj
def show(invocation: Invocation, name: str) -> None:
    """Show a namespace: its owners, who sees it, what it holds."""
    _show(invocation, invocation.client.namespaces.show(name))


@command(
    "create",
    Example("private from the start", "deltareg namespace create lab --visibility private"),
    see_also=("namespace visibility", "push"),
)
@click.argument("name", metavar="NS", help="A name that nobody has.")
@option("--visibility", type=click.Choice(VISIBILITIES), default="internal", show_default=True, help="Who sees it.")
@option("--reason", "-m", default="", metavar="TEXT", help="What it is for, where an admin decides.")
@click.pass_obj
def create(invocation: Invocation, name: str, *, visibility: "Visibility", reason: str) -> None:
    """Make a namespace with nothing in it, which is then yours.

    The first push into a name that nobody has does it, too.

    Where admins alone make namespaces (DELTAREG_NAMESPACES_BY), it asks them for it and exits 9.
    """
    _show(invocation, invocation.client.namespaces.create(name, visibility=visibility, reason=reason))


@command(
    "requests",
    Example("that wait", "deltareg namespace requests"),
    see_also=("namespace grant", "namespace refuse", "namespace create"),
)
@option("--all", "is_all", is_flag=True, help="The decided ones, too.")
@limit_option()
@cursor_option()
@click.pass_obj
def requests(invocation: Invocation, *, is_all: bool, limit: int, cursor: str | None) -> None:
    """List what was asked for: by you, or as an admin by anybody."""
    page = invocation.client.namespaces.requests(state=None if is_all else "open", cursor=cursor, limit=limit)
    table = namespace_request_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [str(item.id) for item in page.items]))
    note_more(invocation.output, page.next_cursor)


@command("grant", Example("as an admin", "deltareg namespace grant 3"), see_also=("namespace requests",))
@click.argument("request_id", metavar="ID", type=click.IntRange(1), help="As namespace requests names it.")
@option("--reason", "-m", default="", metavar="TEXT", help="Why.")
@click.pass_obj
def grant(invocation: Invocation, request_id: int, *, reason: str) -> None:
    """Make the namespace that somebody asked for; it is theirs then."""
    _show_request(invocation, invocation.client.namespaces.grant(request_id, reason=reason))


@command(
    "refuse", Example("with a reason", 'deltareg namespace refuse 3 -m "use team"'), see_also=("namespace requests",)
)
@click.argument("request_id", metavar="ID", type=click.IntRange(1), help="As namespace requests names it.")
@option("--reason", "-m", required=True, metavar="TEXT", help="Why.")
@click.pass_obj
def refuse(invocation: Invocation, request_id: int, *, reason: str) -> None:
    """Refuse a namespace that somebody asked for."""
    _show_request(invocation, invocation.client.namespaces.refuse(request_id, reason=reason))


@command(
    "visibility",
    Example("for its members alone", "deltareg namespace visibility team private"),
    see_also=("namespace show", "member ls"),
)
@click.argument("name", metavar="NS", help="The namespace.")
@click.argument("wanted", metavar="VISIBILITY", type=click.Choice(VISIBILITIES), help="Who sees it.")
@click.pass_obj
def visibility(invocation: Invocation, name: str, wanted: "Visibility") -> None:
    """Make a namespace private, internal or public: as its owner.

    It holds from the next request on. What others have pulled they keep.
    """
    _show(invocation, invocation.client.namespaces.change(name, visibility=wanted))


def _show(invocation: Invocation, found: "NamespaceInfo") -> None:
    blocks = namespace_blocks(found, now=invocation.now)
    invocation.output.show(CommandResult(fields(found, "name"), blocks, [found.name]))


def _show_request(invocation: Invocation, found: "NamespaceRequestInfo") -> None:
    blocks = namespace_request_blocks(found)
    invocation.output.show(CommandResult(fields(found, "id"), blocks, [str(found.id)]))


for _command in (ls, show, create, requests, grant, refuse, visibility):
    namespace.add_command(_command)
