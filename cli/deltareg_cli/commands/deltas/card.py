"""`deltareg card`: what the README.md of a version says."""

import os
from pathlib import Path

import click

from deltareg.errors import InvalidInput, NotFound
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, TitleBlock
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.cards import card_blocks

ORDER = 84


@group(
    "card",
    Example("what it says of itself", "deltareg card show me/chat@prod"),
    Example("for a copy that goes elsewhere", "deltareg card write me/chat@prod ./chat-card.md"),
    see_also=("show", "search", "label"),
)
def card() -> None:
    """Read model cards, and write them with what the registry knows.

    A card is the README.md of the folder that was pushed: prose, and front matter with licence,
    languages, tags, datasets and results, as the Hugging Face Hub has it. It is what its author
    claims. What cannot be read of it is said and left out, and never refuses a push.
    """


@command(
    "show",
    Example("of what prod serves", "deltareg card show me/chat@prod"),
    Example("its tags, for a script", "deltareg card show me/chat --json | jq -r '.tags[]'"),
    see_also=("card write", "show"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.pass_obj
def show(invocation: Invocation, ref: str) -> None:
    """Show what the card of a version says."""
    text = invocation.client.versions.card(ref)
    if text is None:
        raise NotFound(f"{ref} has no card", fix="write a README.md into the folder before it is pushed")
    document = fields(text, "ref")
    document.pop("text", None)
    invocation.output.show(CommandResult(document, [TitleBlock(text.ref), *card_blocks(text)], [text.ref]))


@command(
    "write",
    Example("to read it", "deltareg card write me/chat@prod"),
    Example("into a file", "deltareg card write me/chat:v3 ./README.md"),
    see_also=("card show", "pull"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument(
    "file",
    metavar="[FILE]",
    required=False,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where it is written; without it, to standard output.",
)
@click.pass_obj
def write(invocation: Invocation, ref: str, file: Path | None) -> None:
    """Write the card of a version with what is known of it here.

    Base, kind, verdict and lineage are added. What its author wrote stays. Front matter gets a
    block `deltareg`, and base_model where it is missing and the base has an id on the hub; a
    section at the end says the same to people. Of the version itself nothing changes, and neither
    does a folder that was pulled: written into it, the folder would be another delta.
    """
    text = invocation.client.versions.write_card(ref)
    if file is None:
        invocation.output.show(CommandResult({"ref": ref, "text": text}, [], [ref], raw=text))
        return
    put_card(text, file)
    blocks: list[Block] = [TitleBlock(ref), FactsBlock([("card", Cell(str(file), "name"))])]
    invocation.output.show(CommandResult({"ref": ref, "path": str(file)}, blocks, [str(file)]))


def put_card(text: str, file: Path) -> None:
    """Write a card into a file, whole or not at all.

    Raises:
        InvalidInput: The folder of the file is not there, or may not be written to.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True) if draft.parent.is_dir() else None
        raise InvalidInput(f"{file} cannot be written: {error.strerror}", fix="name another file") from error


for _command in (show, write):
    card.add_command(_command)
