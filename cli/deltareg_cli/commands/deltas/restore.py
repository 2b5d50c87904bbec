"""`deltareg restore`: bring a deleted version or line back."""

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.terminal.documents import as_it_is, fields
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 145


@command(
    "restore",
    Example("bring a version back", "deltareg restore me/chat:v2"),
    Example("a line, with what was deleted with it", "deltareg restore me/chat"),
    see_also=("rm", "gc", "audit"),
)
@click.argument("ref", help="The version, by its number: ns/name:v3; or a line, ns/name.")
@click.pass_obj
def restore(invocation: Invocation, ref: str) -> None:
    """Bring a deleted version or line back while its bytes are there.

    It has its number, verdicts, revocation and quarantines as before. Collection frees the bytes of
    a deleted version when its grace is over, a day unless the server says otherwise; after that it
    is refused with 13, and has to be pushed again as a new version. What it was made from, or
    stands on, comes back first. A version that is not deleted is left as it is. A line comes back
    with the versions that were deleted with it.
    """
    parsed = Ref.parse(ref)
    if parsed.is_bare:
        line = invocation.client.lines.restore(ref)
        words = f"is there with {count(len(line.versions), 'version')} more"
        lines = LinesBlock([[Cell(line.ref, "name"), words if line.versions else "is there"]])
        invocation.output.show(CommandResult(fields(line), [lines], [line.ref]))
        return
    if not (parsed.version or parsed.digest or parsed.prefix):
        raise InvalidInput(f"{ref} does not name one version", fix="write ns/name:v3")
    version = invocation.client.versions.restore(ref)
    lines = LinesBlock([[Cell(version.ref, "name"), "is there"]])
    invocation.output.show(CommandResult(as_it_is(version), [lines], [version.ref]))
