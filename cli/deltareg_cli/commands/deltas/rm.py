"""`deltareg rm`: delete a version."""

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example

LATER = "deltareg gc run frees its bytes after a time of grace, gc plan says how many"

ORDER = 140


@command(
    "rm",
    Example("delete a version", "deltareg rm me/chat:v2"),
    Example("in a script", "deltareg rm me/chat:v2 --yes"),
    see_also=("restore", "gc", "ls"),
)
@click.argument("ref", help="The version, named exactly: ns/name:v3 or ns/name@sha256:…")
@dry_run("Look whether it may be deleted, and delete nothing.")
@click.pass_obj
def rm(invocation: Invocation, ref: str) -> None:
    """Delete a version; its number is never used again.

    Nobody can pull or promote it any more. Its ledger entries, verdicts and audit rows stay. Its
    bytes are freed by collection (deltareg gc run) when its grace is over, a day unless the server
    says otherwise, where nothing else refers to them; until then deltareg restore brings it back. A
    version that a channel serves, or that
    another version was made from or has as its base, is not deleted.
    """
    parsed = Ref.parse(ref)
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
