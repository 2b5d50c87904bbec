"""`deltareg mv`: another name for a line, a channel or a namespace."""

from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref, parse_channel, parse_name
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client import Client
    from deltareg.wire import NameChange

ORDER = 138


@command(
    "mv",
    Example("another name", "deltareg mv me/chat me/assistant"),
    Example("into another namespace", "deltareg mv me/chat team/chat"),
    Example("a channel", "deltareg mv me/chat@beta @candidate"),
    Example("a namespace", "deltareg mv me team"),
    see_also=("rm", "restore", "namespace", "channel"),
)
@click.argument("before", metavar="OLD", help="A line NS/NAME, a channel NS/NAME@CHANNEL or a namespace NS.")
@click.argument("after", metavar="NEW", help="What it is called from now on.")
@click.pass_obj
def mv(invocation: Invocation, before: str, after: str) -> None:
    """Rename a line, a channel or a namespace; the old name leads on.

    References, pushes, agents, locks and links that use the old name go on. Roles, webhooks,
    policies and the ledger stay with what was renamed. What the audit trail says and what was
    signed keeps the name of its time, and can still be verified.

    It needs the role owner, for another namespace in both. The old name is not given to something
    else: a push to it is a push to what it leads to, until deltareg rm OLD lets it go.
    """
    change = _rename(invocation.client, before, after)
    words = f"is {change.name} now, and leads there" if change.before else "has that name already"
    lines = LinesBlock([[Cell(change.before or change.name, "name"), words]])
    invocation.output.show(CommandResult(fields(change), [lines], [change.name]))


def _rename(client: "Client", before: str, after: str) -> "NameChange":
    if "/" not in before and "@" not in before:
        if "/" in after or "@" in after:
            raise InvalidInput(f"{before} is a namespace, and {after} is none", fix="deltareg mv NS NEW")
        return client.namespaces.rename(parse_name(before, "namespace"), after)
    ref = Ref.parse(before)
    if ref.channel is not None and str(ref) == f"{ref.line}@{ref.channel}":
        return client.channels.rename(str(ref.line), ref.channel, _channel(ref, after))
    if not ref.is_bare:
        raise InvalidInput(f"{before} names a version, whose number stays", fix=f"deltareg mv {ref.line} {after}")
    if "/" not in after:
        raise InvalidInput(f"{before} is a line, and {after} is none", fix=f"deltareg mv {before} NS/{after}")
    return client.lines.rename(before, str(LineRef.parse(after)))


def _channel(ref: Ref, after: str) -> str:
    """Return the new name of a channel, written as `@name` or with the same line before it."""
    line, at, name = after.rpartition("@")
    if at and line not in {"", str(ref.line)}:
        raise InvalidInput(f"a channel stays on its line, {ref.line}", fix=f"deltareg mv {ref} @{name}")
    return parse_channel(name)
