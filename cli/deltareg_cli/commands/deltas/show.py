"""`deltareg show`: all about one version."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.versions import version_answer, version_blocks

ORDER = 70


@command(
    "show",
    Example("the newest version", "deltareg show me/chat"),
    Example("what prod serves", "deltareg show me/chat@prod"),
    Example("one field, for a script", "deltareg show me/chat:v3 --json | jq -r .digest"),
    see_also=("ls", "log", "lineage", "verdict", "help references"),
)
@click.argument("ref", help="What to show; a bare NS/NAME is its newest version.")
@click.pass_obj
def show(invocation: Invocation, ref: str) -> None:
    """Show a version: what it is, whether it passes, where it serves.

    With -v its digest, tensors, files, signers and all else that is known of it.
    """
    version = invocation.client.show(ref)
    card = invocation.client.versions.card_of(version)
    is_whole = invocation.output.is_verbose or invocation.output.is_for_scripts
    pulls = invocation.client.versions.pulls_of(version) if is_whole else None  # it takes a request of its own
    evidence = invocation.client.evidence.about(version) if is_whole else ()
    blocks = version_answer(version, now=invocation.now, card=card)
    details = version_blocks(version, now=invocation.now, card=card, pulls=pulls, evidence=evidence)
    document = as_it_is(version)
    document["card"] = None if card is None else card.model_dump(exclude={"ref", "text"})
    document["evidence"] = [one.to_dict() for one in evidence]
    document["pulls"] = None if pulls is None else pulls.to_dict()
    invocation.output.show(CommandResult(document, blocks, [version.ref], details[1:]))
