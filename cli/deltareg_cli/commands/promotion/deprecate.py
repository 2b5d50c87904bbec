"""`deltareg deprecate`: name what to use instead of a version or a line."""

import click

from deltareg.errors import InvalidInput
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, reason_option
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.revocations import describe_deprecation

ORDER = 115


@command(
    "deprecate",
    Example("a version", 'deltareg deprecate me/chat:v3 --successor me/chat:v5 -m "learned names"'),
    Example("a line, and all its versions", 'deltareg deprecate me/chat --successor me/assistant -m "retrained"'),
    Example("take it back", "deltareg deprecate me/chat --undo"),
    see_also=("revoke", "mv", "outdated"),
)
@click.argument("ref", help="A version, or a line: all its versions, and those to come.")
@option("--successor", metavar="REF", default="", help="What to use instead: a version, a channel or a line.")
@reason_option()
@option("--undo", is_flag=True, help="It is not deprecated any more.")
@click.pass_obj
def deprecate(invocation: Invocation, ref: str, *, successor: str, reason: str, undo: bool) -> None:
    """Warn whoever takes a version or a line; name its successor.

    Nothing is refused: it is pulled, promoted and served as before. Whoever pulls, looks at or
    updates it reads one line with the reason and the successor, outdated proposes the successor,
    and pages show it. To forbid a version use deltareg revoke.
    """
    if undo == bool(reason):
        raise InvalidInput("a reason is wanted" if not undo else "--undo takes no reason", fix="say why: -m REASON")
    standing = invocation.client.versions.deprecate(ref, reason=reason, successor=successor)
    said = standing.deprecation
    words = "is not deprecated" if said is None else f"is deprecated {describe_deprecation(said)}"
    document = {"ref": standing.ref, "deprecation": None if said is None else said.model_dump()}
    invocation.output.show(CommandResult(document, [LinesBlock([[Cell(standing.ref, "name"), words]])], [standing.ref]))
