"""`deltareg extract`: a LoRA of a full fine-tune, with its error stated."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, FactsBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import count, seconds, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import concurrency_option
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client import ExtractReport
    from deltareg.delta.extraction.extraction import OtherChange

ORDER = 22

MOST_ROWS = 5
_NOUNS = {
    "vector": ("vector", "vectors"),
    "embedding": ("embedding", "embeddings"),
    "tied": ("tied weight", "tied weights"),
    "new": ("new tensor", "new tensors"),
    "resized": ("resized weight", "resized weights"),
    "depthwise": ("depthwise kernel", "depthwise kernels"),
    "no layer": ("weight of no layer", "weights of no layer"),
}


@command(
    "extract",
    Example("a fine-tune of the registry", "deltareg extract me/tuned:v3 --out ./lora"),
    Example("a folder, and more of its change", "deltareg extract ./tuned --base llama --energy 0.99 --out ./lora"),
    Example("rank 16 everywhere, norms and biases kept", "deltareg extract me/tuned --rank 16 --keep --out ./lora"),
    see_also=("merge", "convert", "push"),
)
@click.argument("source", metavar="REF|PATH", help="The fine-tune; a bare NS/NAME is its newest version.")
@option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="The new folder.")
@option("--base", metavar="NAME|PATH", help="The base of a folder; a version knows its own.")
@option("--rank", type=int, metavar="N", help="The rank of every module; with --energy the largest.")
@option(
    "--energy",
    type=float,
    metavar="SHARE",
    help="The share of each module's squared change that is kept; 0.9 without --rank.",
)
@option("--keep", is_flag=True, help="Save whole what has no factors: norms, biases, embeddings.")
@concurrency_option()
@click.pass_obj
def extract(
    invocation: Invocation,
    source: str,
    *,
    out: Path,
    base: str | None,
    rank: int | None,
    energy: float | None,
    keep: bool,
) -> None:
    """Make a LoRA of a full fine-tune.

    Of what each layer's weight changed by, the nearest factors are written: those of its largest
    singular values, as many as hold the share --energy of the squared change (Frobenius). The error
    is measured on the factors as they are written, and stated for each module and for all.

    What is no layer's matrix, such as norms, biases and embeddings, is left out; the answer names
    it and its share of the change. --keep saves it whole (modules_to_save of peft), which not every
    server loads. A mixture's experts are refused by name.

    The folder is one of peft's: push it, or load it with peft. The base is named in its config.
    """
    report = invocation.client.folders.extract(source, out, base=base, rank=rank, energy=energy, keep=keep)
    invocation.output.show(CommandResult(report.to_dict(), _extract_blocks(report), [str(report.path)]))


def _extract_blocks(report: "ExtractReport") -> list[Block]:
    ranks = sorted(module.rank for module in report.modules)
    rank = f"rank {ranks[0]}" if ranks[0] == ranks[-1] else f"ranks {ranks[0]} to {ranks[-1]}"
    worst = report.worst
    missing = f"{report.total_error:.3g} of the whole change" if report.left_out else ""
    blocks: list[Block] = [
        TitleBlock(str(report.path), f"LoRA, {rank}, {count(len(report.modules), 'module')}"),
        FactsBlock(
            [
                ("error", f"{report.relative_error:.3g} of the change of these modules"),
                ("worst", [f"{worst.relative_error:.3g}", Cell(worst.target, "name")]),
                ("saved", _describe(report, report.kept)),
                ("left out", _describe(report, report.left_out)),
                ("missing", missing),
                ("size", f"{size(report.size_bytes)}, the fine-tune {size(report.source_bytes)}"),
                ("took", seconds(report.seconds)),
                ("push it", f"deltareg push {report.path} NS/NAME --base {report.base}"),
            ]
        ),
    ]
    return [*blocks, *_left_out_table(report.left_out)]


def _describe(report: "ExtractReport", changes: "Sequence[OtherChange]") -> str:
    if not changes:
        return ""
    counts = Counter(change.why for change in changes)
    parts = ", ".join(count(number, *_NOUNS[why]) for why, number in counts.most_common())
    return f"{parts}: {report.share_of(changes):.3g} of the squared change"


def _left_out_table(changes: "Sequence[OtherChange]") -> list[Block]:
    if not changes:
        return []
    largest = sorted(changes, key=lambda change: (-change.norm, change.target))[:MOST_ROWS]
    rows: list[list[Text]] = [
        [Cell(c.target, "name"), c.why, "-" if c.relative is None else f"{c.relative:.3g}"] for c in largest
    ]
    columns = [Column("weight", is_prose=True), Column("is"), Column("‖ΔW‖/‖W‖", is_number=True)]
    return [
        TitleBlock("Left out", f"{len(largest)} of {len(changes)}, largest change first"),
        TableBlock(columns, rows),
    ]
