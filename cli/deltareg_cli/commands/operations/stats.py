"""`deltareg stats`: what the registry holds, in figures."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.storage import storage_blocks

if TYPE_CHECKING:
    from deltareg.wire import StorageReport

ORDER = 50


@group(
    "stats",
    Example("what is stored, and what was saved", "deltareg stats storage"),
    see_also=("gc", "fsck", "cache ls"),
)
def stats() -> None:
    """Show figures of the registry."""


@command(
    "storage",
    Example("everything", "deltareg stats storage"),
    Example("a namespace, line by line", "deltareg stats storage me"),
    Example("a line, version by version", "deltareg stats storage me/chat"),
    Example("one version", "deltareg stats storage me/chat@prod"),
    Example("how many times smaller, for a script", "deltareg stats storage --json | jq .ratio"),
    see_also=("show", "gc plan", "fsck", "help references"),
)
@click.argument(
    "of",
    metavar="[NS | NS/NAME | REF]",
    required=False,
    help="A namespace, a line or a version; everything when it is left out.",
)
@option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 200),
    help="How many of the largest parts to list; one row stands for the others.",
)
@click.pass_obj
def storage(invocation: Invocation, of: str | None, *, limit: int) -> None:
    """Show what is stored, and what saved how much.

    References save by encoding weights against the base or an earlier version, dedup by storing
    equal bytes of a namespace once, and entropy coding on what stands alone. What several versions
    need counts for the oldest of them, so that all parts add up to the bytes in the store. The
    ratio is the logical bytes over packs, manifests and storage maps together.

    As JSON: of, name, logical_bytes, pack_bytes, manifest_bytes, map_bytes, ratio,
    saved_by_references, saved_by_dedup, saved_by_entropy, unchanged_bytes, framing_bytes, versions
    and bases; store (pack_bytes, garbage_bytes, upload_bytes, total_bytes; null for less than a
    namespace); parts and kinds with the same figures each.
    """
    report = invocation.client.storage.stats(of, limit=limit)
    blocks = storage_blocks(report, invocation.output.result_surface)
    ids = [part.name for part in report.parts if part.of != "rest"]
    invocation.output.show(CommandResult(_document(report), blocks, ids))


def _document(report: "StorageReport") -> dict[str, object]:
    """Return the totals as fields of the document itself, then the store and the rows."""
    return {
        "of": report.of,
        "name": report.name,
        **fields(report.total),
        "store": None if report.store is None else fields(report.store),
        "parts": [fields(part, "of", "name") for part in report.parts],
        "kinds": [fields(kind, "of", "name") for kind in report.kinds],
    }


stats.add_command(storage)
