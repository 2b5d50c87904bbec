"""`deltareg fsck`: is everything there that the database says?"""

import click

from deltareg_cli.blocks import Answer, Block, Cell, Column, Lines, Table, Text
from deltareg_cli.command_tree import Place, command
from deltareg_cli.documents import fields
from deltareg_cli.exits import Exit
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option
from deltareg_cli.wording import count, size

PLACE = Place("Operate", 40)


@command(
    "fsck",
    Example("is every pack there, with its size?", "deltareg fsck"),
    Example("read all of it and check every digest", "deltareg fsck --read-data"),
    see_also=("gc", "server check"),
)
@option("--read-data", is_flag=True, help="Read every byte and check every digest.")
@click.pass_obj
def fsck(invocation: Invocation, *, read_data: bool) -> Exit:
    """Compare the store with the database.

    The exit status is 6 if anything is missing or damaged. Nothing is changed. Findings name what
    is concerned, so that it can be restored from a backup or pushed again.
    """
    report = invocation.client.storage.fsck(read_data=read_data)
    how = "read and checked" if report.read_data else "looked up"
    seen = f"{count(report.packs, 'pack')}, {size(report.bytes)}, {how}:"
    outcome = Cell("all good", "good")
    if report.findings:
        outcome = Cell(count(len(report.findings), "finding"), "bad")
    blocks: list[Block] = [Lines([[seen, outcome]])]
    if report.findings:
        rows: list[list[Text]] = [
            [Cell(item.kind, "bad"), item.subject, item.detail] for item in report.findings
        ]
        blocks.append(
            Table([Column("kind"), Column("subject"), Column("detail", is_prose=True)], rows)
        )
    ids = [item.subject for item in report.findings]
    invocation.output.show(Answer(fields(report, "findings"), blocks, ids))
    return Exit.INTEGRITY if report.findings else Exit.DONE
