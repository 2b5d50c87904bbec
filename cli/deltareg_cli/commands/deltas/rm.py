"""`deltareg rm`: delete a version or a line."""

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.terminal.documents import as_it_is, fields
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example

LATER = "deltareg gc run frees its bytes after a time of grace, gc plan says how many"

ORDER = 140


@command(
    "rm",
    Example("delete a version", "deltareg rm me/chat:v2"),
    Example("a line with all its versions", "deltareg rm me/chat"),
    Example("let a former name go", "deltareg rm me/oldname"),
    Example("in a script", "deltareg rm me/chat:v2 --yes"),
    see_also=("restore", "mv", "gc", "ls"),
)
@click.argument("ref", help="A version, named exactly: ns/name:v3 or ns/name@sha256:…; or a line, ns/name.")
@dry_run("Look whether it may be deleted, and delete nothing.")
@click.pass_obj
def rm(invocation: Invocation, ref: str) -> None:
    """Delete a version or a line; its number is never used again.

    Nobody can pull or promote it any more. Its ledger entries, verdicts and audit rows stay. Its
    bytes are freed by collection after a week, unless the server says otherwise, where nothing else
    refers to them; until then deltareg restore brings it back. A
    version that a channel serves, or that another version was made from or has as its base, is not
    deleted, and neither is its line.

    A former name of a line (deltareg mv) is let go: it leads nowhere any more, and can be taken.
    """
    parsed = Ref.parse(ref)
    if parsed.is_bare:
        _delete_line(invocation, str(parsed.line))
        return
    if not (parsed.version or parsed.digest or parsed.prefix):
        raise InvalidInput(f"{ref} does not name one version", fix="write ns/name:v3")
    is_dry = invocation.globals.dry_run
    if not is_dry:
        invocation.confirm(f"Delete {ref}?")
    version = invocation.client.versions.delete(ref, dry_run=is_dry)
    outcome = "would be deleted" if is_dry else f"is deleted; {LATER}"
    document = {**as_it_is(version), "dry_run": is_dry}
    lines = LinesBlock([[Cell(version.ref, "name"), outcome]])
    invocation.output.show(CommandResult(document, [lines], [version.ref]))


def _delete_line(invocation: Invocation, line: str) -> None:
    """Delete a line, or let the name go where it is a former one."""
    is_dry = invocation.globals.dry_run
    would = invocation.client.lines.delete(line, dry_run=True)
    many = count(len(would.versions), "version")
    if would.ref != line:
        if not is_dry:
            invocation.confirm(f"Let the name {line} go, which leads to {would.ref}?")
            invocation.client.lines.free(line)
        outcome = f"{'would lead' if is_dry else 'leads'} nowhere any more; it led to {would.ref}"
        document: dict[str, object] = {"ref": line, "led_to": would.ref, "versions": [], "dry_run": is_dry}
    else:
        if not is_dry:
            invocation.confirm(f"Delete {line} with {many}?")
            would = invocation.client.lines.delete(line)
        outcome = f"would be deleted with {many}" if is_dry else f"is deleted with {many}; {LATER}"
        document = {**fields(would), "dry_run": is_dry}
    invocation.output.show(CommandResult(document, [LinesBlock([[Cell(line, "name"), outcome]])], [line]))
