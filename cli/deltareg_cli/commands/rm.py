"""`deltareg rm`: delete a version."""

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg_cli.blocks import Answer, Cell, Lines
from deltareg_cli.command_tree import command
from deltareg_cli.documents import fields
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation


@command(
    "rm",
    Example("delete a version", "deltareg rm me/chat:v2"),
    Example("in a script", "deltareg rm me/chat:v2 --yes"),
    see_also=("gc", "ls", "channel"),
)
@click.argument("ref", help="The version, named exactly: ns/name:v3 or ns/name@sha256:…")
@click.pass_obj
def rm(invocation: Invocation, ref: str) -> None:
    """Delete a version; its number is never used again.

    Nobody can pull or promote it any more. Its ledger entries, verdicts and audit rows stay. Its
    bytes are freed by collection (deltareg gc), where nothing else refers to them. A version that
    a channel serves, or that another version was made from or has as its base, is not deleted.
    """
    parsed = Ref.parse(ref)
    if parsed.version is None and parsed.digest is None:
        raise InvalidInput(f"{ref} does not name one version", fix="write ns/name:v3")
    invocation.confirm(f"Delete {ref}?")
    version = invocation.client.versions.delete(ref)
    lines = Lines([[Cell(version.ref, "name"), "is deleted; deltareg gc frees its bytes"]])
    invocation.output.show(Answer(fields(version), [lines], [version.ref]))
