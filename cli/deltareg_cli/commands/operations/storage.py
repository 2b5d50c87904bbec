"""`deltareg storage`: how versions are stored, and going back to how one was."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, TableBlock, Text
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.wording import moment, size
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.verdicts import run_blocks

if TYPE_CHECKING:
    from deltareg.wire import FormHistory

ORDER = 45


@group(
    "storage",
    Example("how was it stored?", "deltareg storage history me/chat:v3"),
    Example("go back to that", "deltareg storage revert me/chat:v3"),
    see_also=("flatten", "stats storage", "fsck", "gc"),
)
def storage() -> None:
    """See how a version is stored, and go back to how it was.

    Workers store versions anew: smaller, or flatter. Nothing about the version changes by that. A
    new form is served once another worker has decoded it and compared every digest, and the one
    before it is kept for a week, unless the server says otherwise.
    """


@command(
    "history",
    Example("all of its forms, the newest first", "deltareg storage history me/chat:v3"),
    see_also=("storage revert", "show"),
)
@click.argument("ref", help="The version; a bare NS/NAME is not one.")
@click.pass_obj
def history(invocation: Invocation, ref: str) -> None:
    """List how a version is stored, was, and may come to be."""
    invocation.output.show(_answer(invocation, invocation.client.storage.history(ref)))


@command(
    "revert",
    Example("as it was stored before", "deltareg storage revert me/chat:v3"),
    Example("as form 12 says", "deltareg storage revert me/chat:v3 --form 12"),
    see_also=("storage history", "flatten", "prove"),
)
@click.argument("ref", help="The version; a bare NS/NAME is not one.")
@option("--form", type=int, help="Which form; the newest former one by default.")
@click.pass_obj
def revert(invocation: Invocation, ref: str, *, form: int | None) -> None:
    """Serve a version in a form in which it was stored before.

    Digest, number and verdicts stay. A form that was proven is served at once, and a worker looks
    at it again; any other is served once it is proven. What was served until now is kept as well.
    """
    history = invocation.client.storage.revert(ref, form=form)
    invocation.output.show(_answer(invocation, history))


def _answer(invocation: Invocation, found: "FormHistory") -> CommandResult:
    rows: list[list[Text]] = [
        [
            "now" if one.form is None else str(one.form),
            Cell(one.state, "good" if one.state == "served" else ""),
            one.why,
            one.proof,
            size(one.stored_bytes),
            one.made_by,
            moment(one.since, now=invocation.now),
            "" if one.until is None else one.until[:10],
        ]
        for one in found.forms
    ]
    columns = [Column(name) for name in ("form", "state", "why", "proof", "bytes", "made by", "since", "kept until")]
    blocks: list[Block] = [TableBlock(columns, rows)]
    if found.run is not None:
        blocks += run_blocks(found.run, now=invocation.now)
    return CommandResult(fields(found, "ref", "forms"), blocks, [found.ref])


storage.add_command(history)
storage.add_command(revert)
