"""`deltareg cache`: the bytes that pulls keep on this machine."""

from datetime import UTC, datetime

import click

from deltareg_cli.blocks import Answer, Block, Cell, Column, Facts, Lines, Table, Text
from deltareg_cli.command_tree import command, group
from deltareg_cli.documents import items_fields
from deltareg_cli.exits import Exit
from deltareg_cli.global_options import dry_run
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import Duration, Size, option
from deltareg_cli.wording import count, moment, size


@group(
    "cache",
    Example("what is there", "deltareg cache ls"),
    Example("keep what was used this month", "deltareg cache prune --older-than 30d"),
    see_also=("pull", "config"),
)
def cache() -> None:
    """Look after the bytes that pulls keep on this machine.

    All of them can be fetched again.
    """


@command("ls", Example("what is there", "deltareg cache ls"), see_also=("cache prune",))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List what the cache keeps, with size and last use."""
    entries = invocation.client.cache.entries()
    columns = [
        Column("kind"), Column("digest"), Column("size", is_number=True), Column("last used"),
    ]  # fmt: skip
    rows: list[list[Text]] = [
        [
            entry.kind,
            Cell(str(entry.digest)[:12], "name"),
            size(entry.size_bytes),
            moment(_at(entry.last_used), now=invocation.now),
        ]
        for entry in entries
    ]
    items: list[dict[str, object]] = [
        {
            "kind": entry.kind,
            "digest": str(entry.digest),
            "size_bytes": entry.size_bytes,
            "last_used": _at(entry.last_used),
        }
        for entry in entries
    ]
    total = sum(entry.size_bytes for entry in entries)
    document = items_fields(items) | {"total_bytes": total}
    ids = [str(entry.digest) for entry in entries]
    table = Table(columns, rows, if_empty="the cache is empty")
    invocation.output.show(Answer(document, [table], ids))
    if entries:
        invocation.output.note(f"{count(len(entries), 'entry', 'entries')}, {size(total)}")


@command(
    "prune",
    Example("down to the size in the settings", "deltareg cache prune"),
    Example("what has not been used for a month", "deltareg cache prune --older-than 30d"),
    see_also=("cache ls", "config"),
)
@option("--max-size", type=Size(), metavar="SIZE", help="Keep at most this much, as in 50GB.")
@option("--older-than", type=Duration(), metavar="AGE", help="Drop what was last used before.")
@dry_run("Say what would be dropped, drop nothing.")
@click.pass_obj
def prune(invocation: Invocation, *, max_size: int | None, older_than: float | None) -> None:
    """Drop what was used longest ago.

    It stops when the cache is as small as wanted. Without options it is made as small as the
    setting cache_max_size says.
    """
    limit = max_size
    if max_size is None and older_than is None:
        limit = invocation.config.cache_max_bytes
    is_dry = invocation.globals.dry_run
    report = invocation.client.cache.prune(max_bytes=limit, older_than_s=older_than, dry_run=is_dry)
    document: dict[str, object] = {
        "removed": report.removed, "bytes": report.bytes, "dry_run": is_dry,
    }  # fmt: skip
    verb = "would free" if is_dry else "freed"
    lines = Lines([f"{verb} {size(report.bytes)} in {count(report.removed, 'entry', 'entries')}"])
    invocation.output.show(Answer(document, [lines]))


@command(
    "verify",
    Example("are the bytes what they should be?", "deltareg cache verify"),
    Example("and drop those that are not", "deltareg cache verify --fix"),
    see_also=("cache prune",),
)
@option("--fix", is_flag=True, help="Drop damaged entries; the next pull fetches them again.")
@click.pass_obj
def verify(invocation: Invocation, *, fix: bool) -> Exit:
    """Read everything and compare it with its digest.

    The exit status is 6 if something is damaged and was not dropped.
    """
    bad = list(invocation.client.cache.verify(fix=fix))
    word = Cell("all good", "good")
    if bad:
        word = Cell(f"{count(len(bad), 'bad entry', 'bad entries')}", "bad")
    after = [("dropped", str(len(bad)))] if bad and fix else []
    blocks: list[Block] = [Lines([word, *(Cell(f"  {name}", "bad") for name in bad)]), Facts(after)]
    document: dict[str, object] = {"bad": bad, "fixed": fix}
    invocation.output.show(Answer(document, blocks, bad))
    return Exit.INTEGRITY if bad and not fix else Exit.DONE


@command("path", Example("where is it?", "deltareg cache path"), see_also=("config",))
@click.pass_obj
def path(invocation: Invocation) -> None:
    """Print the folder of the cache."""
    folder = str(invocation.config.cache_dir)
    invocation.output.show(Answer({"path": folder}, [Lines([folder])], [folder]))


def _at(last_used: float) -> str:
    return datetime.fromtimestamp(last_used, UTC).isoformat(timespec="seconds")


for _command in (ls, prune, verify, path):
    cache.add_command(_command)
