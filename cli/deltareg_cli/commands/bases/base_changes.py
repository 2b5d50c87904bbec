"""`deltareg base diff`, `rename` and `rm`: in what bases differ, and what becomes of one."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, LinesBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import BaseDiff

FIRST = ("name", "root", "identity", "is_stored")
LATER = "deltareg gc run frees its bytes"


@command(
    "diff",
    Example("in what do they differ?", "deltareg base diff llama-3.1-8b llama-3.1-8b-new"),
    see_also=("base show", "base ls"),
)
@click.argument("name", help="A base.")
@click.argument("other", help="Another one.")
@click.pass_obj
def diff(invocation: Invocation, name: str, other: str) -> None:
    """Say in which parts two bases differ.

    The parts are tensors, config, modules, tokenizer, chat template, processor and generation
    config. Of the config the keys are named with both values, of all others the files. What differs
    beside the parts, a README or the release that wrote the config, decides nothing.
    """
    comparison = invocation.client.bases.diff(name, other)
    invocation.output.show(
        CommandResult(
            as_it_is(comparison, "base", "other"), _blocks(comparison), [d.part for d in comparison.differences]
        )
    )


def _blocks(found: "BaseDiff") -> list[Block]:
    tensors = "the same tensors" if found.same_tensors else "other tensors"
    rows: list[list[Text]] = [
        [Cell(one.part.replace("_", " "), "name"), detail]
        for one in found.differences
        for detail in one.details or ["differ"]
    ]
    beside = ", ".join(found.without_effect)
    notes: list[Text] = [Cell(f"without effect: {beside}", "dim")] if beside else []
    table = TableBlock([Column("part"), Column("difference")], rows, if_empty="they are the same in every part")
    blocks: list[Block] = [TitleBlock(f"{found.base} → {found.other}", tensors), table]
    return [*blocks, LinesBlock([notes])] if notes else blocks


@command(
    "rename", Example("another name", "deltareg base rename llama llama-3.1-8b"), see_also=("base show", "base rm")
)
@click.argument("name", help="The base.")
@click.argument("to", help="What it is called from now on.")
@click.pass_obj
def rename(invocation: Invocation, name: str, to: str) -> None:
    """Give a base another name; the one before leads to it on.

    Nothing that was pushed onto it changes. A name that a base had is never another one's, so
    scripts and configs that say it go on working. The new name lies in the namespace of the old.
    """
    renamed = invocation.client.bases.rename(name, to)
    lines = LinesBlock([[Cell(renamed.name, "name"), f"is what {name} leads to"]])
    invocation.output.show(CommandResult(as_it_is(renamed, *FIRST), [lines], [renamed.name]))


@command(
    "rm",
    Example("delete a base", "deltareg base rm llama-old"),
    Example("would it be?", "deltareg base rm llama-old --dry-run"),
    see_also=("base diff", "rm", "gc"),
)
@click.argument("name", help="The base.")
@dry_run("Look whether it may be deleted, and delete nothing.")
@click.pass_obj
def rm(invocation: Invocation, name: str) -> None:
    """Delete a base on which nothing stands.

    It is refused while versions stand on it, deleted ones that still have their bytes among them,
    and while variants are forms of it. Its name is free then, and its bytes are freed by
    collection. A version that became a base goes with the version: deltareg rm.
    """
    is_dry = invocation.globals.dry_run
    if not is_dry:
        invocation.confirm(f"Delete the base {name}?")
    deleted = invocation.client.bases.delete(name, dry_run=is_dry)
    outcome = "would be deleted" if is_dry else f"is deleted; {LATER}"
    document = {**as_it_is(deleted, *FIRST), "dry_run": is_dry}
    lines = LinesBlock([[Cell(deleted.name, "name"), outcome]])
    invocation.output.show(CommandResult(document, [lines], [deleted.name]))
