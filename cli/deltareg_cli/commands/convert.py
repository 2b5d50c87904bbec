"""`deltareg convert`: write a folder in a layout that push takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg_cli.blocks import Answer, Block, Cell, Facts, Title
from deltareg_cli.command_tree import Place, command
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option
from deltareg_cli.wording import count, size

if TYPE_CHECKING:
    from deltareg.client import ConvertReport

PLACE = Place("Deltas", 20)

MOST_LEFT_OUT = 3


@command(
    "convert",
    Example("a pickle, without running it", "deltareg convert ./adapter-bin --to ./adapter"),
    Example(
        "a LoRA of an image trainer",
        "deltareg convert ./style.safetensors --to ./style --base ./unet",
    ),
    Example(
        "a fine-tune, as what differs",
        "deltareg convert ./tuned --to ./tuned-delta --base llama-3.1-8b",
    ),
    see_also=("lint", "push", "explain"),
)
@click.argument("path", type=click.Path(path_type=Path), help="The folder or file to convert.")
@option(
    "--to", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where it goes."
)
@option("--base", metavar="NAME|PATH", help="The base; pickles and names are converted without it.")
@click.pass_obj
def convert(invocation: Invocation, path: Path, to: Path, *, base: str | None) -> None:
    """Write a delta in a layout that push takes.

    Pickles (.bin, .pt) become safetensors: an own reader takes the tensors out and carries out
    nothing; a pickle that asks for anything but tensors is refused by name. Names lose what FSDP,
    torch.compile and DistributedDataParallel put into them. With --base the names of a LoRA become
    those that the base has, where it was trained on a language model alone or by transformers 4. A
    LoRA in the layout of kohya or of old diffusers becomes one of peft, with modules found by the
    base's own names. A full fine-tune becomes a sparse or BitFit delta where that is exact and
    smaller.

    What is written is read again and held against what was read before the folder gets its name.
    Files beside the weights go along; nothing at PATH is changed.
    """
    invocation.output.show(convert_answer(invocation.client.folders.convert(path, to, base=base)))


def convert_answer(report: "ConvertReport") -> Answer:
    """Show what became of what."""
    sizes = f"{size(report.size_bytes)}, from {size(report.source_bytes)}"
    blocks: list[Block] = [
        Title(str(report.path)),
        Facts([
            ("converted", f"{report.source} to {report.result}"),
            ("files", Cell(", ".join(report.files), "name")),
            ("size", f"{count(report.tensors, 'tensor')}, {sizes}"),
            ("left out", _some(report.left_out)),
        ]),
    ]  # fmt: skip
    return Answer(report.to_dict(), blocks, [str(report.path)])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_LEFT_OUT} more" if len(names) > MOST_LEFT_OUT else ""
    return f"{', '.join(names[:MOST_LEFT_OUT])}{more}"
