"""`deltareg cache`: the bytes that pulls keep on this machine."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import AgeParam, SizeParam, option
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, FactsBlock, LinesBlock, TableBlock, Text
from deltareg_cli.terminal.documents import items_fields
from deltareg_cli.terminal.wording import count, moment, size
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.cache.pins import Pin

ORDER = 40


@group(
    "cache",
    Example("what is there", "deltareg cache ls"),
    Example("keep what was used this month", "deltareg cache prune --older-than 30d"),
    Example("keep what prod serves now, whatever happens", "deltareg cache pin me/chat@prod"),
    see_also=("pull", "update", "config"),
)
def cache() -> None:
    """Look after the bytes that pulls keep on this machine.

    All of them can be fetched again. When the cache exceeds the setting cache_max_size, what was
    unused for longest is removed, except what is pinned.
    """


@command("ls", Example("what is there", "deltareg cache ls"), see_also=("cache prune",))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List what the cache keeps, with size and last use.

    What was used longest ago comes first, and goes first. Snapshots are versions with their files,
    bases are whole models, blobs are packs as the registry stores them, and parts are the stretches
    of a pack that were needed so far.
    """
    entries = invocation.client.cache.entries()
    columns = [Column("kind"), Column("digest"), Column("size", is_number=True), Column("last used"), Column("pinned")]
    rows: list[list[Text]] = [
        [
            entry.kind,
            Cell(str(entry.digest)[:12], "name"),
            size(entry.size_bytes),
            moment(_at(entry.last_used), now=invocation.now),
            "pinned" if entry.is_pinned else "",
        ]
        for entry in entries
    ]
    items: list[dict[str, object]] = [
        {
            "kind": entry.kind,
            "digest": str(entry.digest),
            "size_bytes": entry.size_bytes,
            "last_used": _at(entry.last_used),
            "is_pinned": entry.is_pinned,
        }
        for entry in entries
    ]
    total = sum(entry.size_bytes for entry in entries)
    document = items_fields(items) | {"total_bytes": total}
    ids = [str(entry.digest) for entry in entries]
    table = TableBlock(columns, rows, if_empty="the cache is empty")
    invocation.output.show(CommandResult(document, [table], ids))
    if entries:
        invocation.output.note(f"{count(len(entries), 'entry', 'entries')}, {size(total)}")


@command(
    "prune",
    Example("down to the size in the settings", "deltareg cache prune"),
    Example("what has not been used for a month", "deltareg cache prune --older-than 30d"),
    see_also=("cache ls", "config"),
)
@option("--max-size", type=SizeParam(), metavar="SIZE", help="Keep at most this much, as in 50GB.")
@option("--older-than", type=AgeParam(), metavar="AGE", help="Drop what was last used before.")
@dry_run("Say what would be dropped, drop nothing.")
@click.pass_obj
def prune(invocation: Invocation, *, max_size: int | None, older_than: float | None) -> None:
    """Drop what was used longest ago.

    It stops when the cache is as small as wanted. Without options it is made as small as the
    setting cache_max_size says. What is pinned stays, and what another process uses at the moment
    is fetched again by that process if need be.
    """
    limit = max_size
    if max_size is None and older_than is None:
        limit = invocation.config.cache_max_bytes
    report = invocation.client.cache.prune(max_bytes=limit, older_than_s=older_than, dry_run=invocation.globals.dry_run)
    _show_removed(invocation, report.removed, report.bytes)


@command(
    "verify",
    Example("are the bytes what they should be?", "deltareg cache verify"),
    Example("and drop those that are not", "deltareg cache verify --fix"),
    see_also=("cache prune",),
)
@option("--fix", is_flag=True, help="Drop damaged entries; the next pull fetches them again.")
@click.pass_obj
def verify(invocation: Invocation, *, fix: bool) -> ExitStatus:
    """Read packs and parts and compare them with their digests.

    Snapshots and bases are checked against theirs at every use, if a file of them was touched.

    The exit status is 6 if something is damaged and was not dropped.
    """
    bad = list(invocation.client.cache.verify(fix=fix))
    word = Cell("all good", "good")
    if bad:
        word = Cell(f"{count(len(bad), 'bad entry', 'bad entries')}", "bad")
    after = [("dropped", str(len(bad)))] if bad and fix else []
    blocks: list[Block] = [LinesBlock([word, *(Cell(f"  {name}", "bad") for name in bad)]), FactsBlock(after)]
    document: dict[str, object] = {"bad": bad, "fixed": fix}
    invocation.output.show(CommandResult(document, blocks, bad))
    if bad and not fix:
        invocation.output.note("drop them, and the next pull fetches them: deltareg cache verify --fix")
        return ExitStatus.INTEGRITY
    return ExitStatus.DONE


@command(
    "pin",
    Example("keep what prod serves now", "deltareg cache pin me/chat@prod"),
    Example("keep a base, by its digest in the list", "deltareg cache pin 4be1a50c"),
    see_also=("cache unpin", "cache ls"),
)
@click.argument("ref", metavar="REF|DIGEST", help="A version, or a digest as cache ls shows it.")
@click.pass_obj
def pin(invocation: Invocation, ref: str) -> None:
    """Keep something, whatever the size of the cache.

    A version is pinned with its files and its packs, also those that were not fetched yet. A
    channel means the version that it serves now. Six digits of a digest are enough where they mean
    one thing.
    """
    _show_pin(invocation, invocation.client.cached.pin(ref), "is pinned")


@command("unpin", Example("a version", "deltareg cache unpin me/chat:v3"), see_also=("cache pin", "cache prune"))
@click.argument("ref", metavar="REF|DIGEST", help="What was pinned.")
@click.pass_obj
def unpin(invocation: Invocation, ref: str) -> None:
    """Let something be pruned again."""
    _show_pin(invocation, invocation.client.cached.unpin(ref), "is not pinned any more")


@command(
    "rm",
    Example("a version", "deltareg cache rm me/chat:v2"),
    Example("one thing of the list", "deltareg cache rm 4be1a50c"),
    see_also=("cache prune", "cache unpin"),
)
@click.argument("ref", metavar="REF|DIGEST", help="A version, or a digest as cache ls shows it.")
@dry_run("Say what would be dropped, drop nothing.")
@click.pass_obj
def rm(invocation: Invocation, ref: str) -> None:
    """Drop one thing.

    A version goes with its files and its packs; other versions that share a pack fetch it again.
    What is pinned is not dropped.
    """
    report = invocation.client.cached.remove(ref, dry_run=invocation.globals.dry_run)
    _show_removed(invocation, report.removed, report.bytes)


@command("path", Example("where is it?", "deltareg cache path"), see_also=("config",))
@click.pass_obj
def path(invocation: Invocation) -> None:
    """Print the folder of the cache."""
    folder = str(invocation.config.cache_dir)
    invocation.output.show(CommandResult({"path": folder}, [LinesBlock([folder])], [folder]))


def _show_removed(invocation: Invocation, removed: int, freed_bytes: int) -> None:
    is_dry = invocation.globals.dry_run
    document: dict[str, object] = {"removed": removed, "bytes": freed_bytes, "dry_run": is_dry}
    verb = "would free" if is_dry else "freed"
    lines = LinesBlock([f"{verb} {size(freed_bytes)} in {count(removed, 'entry', 'entries')}"])
    invocation.output.show(CommandResult(document, [lines]))


def _show_pin(invocation: Invocation, pin: "Pin", word: str) -> None:
    document: dict[str, object] = {"name": pin.name, "digests": list(pin.digests)}
    lines = LinesBlock([[Cell(pin.name, "name"), word]])
    invocation.output.show(CommandResult(document, [lines], [pin.name]))


def _at(last_used: float) -> str:
    return datetime.fromtimestamp(last_used, UTC).isoformat(timespec="seconds")


for _command in (ls, pin, unpin, prune, rm, verify, path):
    cache.add_command(_command)
