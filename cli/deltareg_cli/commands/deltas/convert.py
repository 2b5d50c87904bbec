"""`deltareg convert`: write a folder in a layout that push takes, or that another program reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, TitleBlock
from deltareg_cli.terminal.wording import count, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client import ConvertReport

ORDER = 20

MOST_LEFT_OUT = 3
PUSHED = "peft"
LAYOUTS = (PUSHED, "mlx", "gguf", "per-expert", "fused-experts")


@command(
    "convert",
    Example("a pickle, without running it", "deltareg convert ./adapter-bin --out ./adapter"),
    Example(
        "a LoRA of an image trainer, MLX or llama.cpp",
        "deltareg convert ./style.safetensors --out ./style --base ./unet",
    ),
    Example("a LoRA for llama.cpp", "deltareg convert ./adapter --to gguf --out ./for-llama --base llama-3.1-8b"),
    Example("a fine-tune, as what differs", "deltareg convert ./tuned --out ./tuned-delta --base llama-3.1-8b"),
    see_also=("lint", "push", "explain"),
)
@click.argument("path", type=click.Path(path_type=Path), help="The folder or file to convert.")
@option("--out", metavar="DIR", type=click.Path(path_type=Path), help="The new folder.")
@option("--to", metavar="LAYOUT", help=f"What it becomes: {', '.join(LAYOUTS)}.  [default: {PUSHED}]")
@option("--base", metavar="NAME|PATH", help="The base; pickles and names are converted without it.")
@click.pass_obj
def convert(invocation: Invocation, path: Path, *, out: Path | None, to: str | None, base: str | None) -> None:
    """Write a delta in the layout of push, or of another program.

    Pickles (.bin, .pt) become safetensors: an own reader takes the tensors out and carries out
    nothing; a pickle that asks for anything but tensors is refused by name. Names lose what FSDP,
    torch.compile and DistributedDataParallel put into them. With --base the names of a LoRA become
    those that the base has, where it was trained on a language model alone or by transformers 4. A
    LoRA of kohya, old diffusers, LyCORIS, ComfyUI, MLX or llama.cpp becomes one of peft, with
    modules found by the base's own names. A full fine-tune becomes a sparse or BitFit delta where
    that is exact and smaller.

    With --to, a LoRA becomes one of MLX (mlx) or llama.cpp (gguf), or the factors of single experts
    become those of all experts of a layer (fused-experts) and back (per-expert). What has no exact
    form there is refused with the reason.

    What is written is read again and held against what was read before the folder gets its name.
    Files beside the weights go along; nothing at PATH is changed. `--to DIR` without --out names
    the new folder, as it did before there were layouts.
    """
    folder, layout = _target(out, to)
    report = invocation.client.folders.convert(path, folder, base=base, layout=layout)
    invocation.output.show(convert_answer(report))


def _target(out: Path | None, to: str | None) -> tuple[Path, str]:
    """Return the new folder and the layout; `--to` alone is the folder, unless it is a layout."""
    if out is None and to is None:
        raise InvalidInput("where the new folder goes is not said", fix="--out DIR")
    if out is None:
        if to in LAYOUTS:
            raise InvalidInput(f"{to} is a layout: where its folder goes is not said", fix="--out DIR")
        return Path(str(to)), PUSHED
    if to is not None and to not in LAYOUTS:
        layouts = ", ".join(LAYOUTS)
        raise InvalidInput(f"no layout is called {to[:60]!r}", fix=f"--to takes one of {layouts}")
    return out, to or PUSHED


def convert_answer(report: "ConvertReport") -> CommandResult:
    """Show what the conversion did to each part of the delta."""
    sizes = f"{size(report.size_bytes)}, from {size(report.source_bytes)}"
    blocks: list[Block] = [
        TitleBlock(str(report.path)),
        FactsBlock(
            [
                ("converted", f"{report.source} to {report.result}"),
                ("files", Cell(", ".join(report.files), "name")),
                ("size", f"{count(report.tensors, 'tensor')}, {sizes}"),
                ("left out", _some(report.left_out)),
            ]
        ),
    ]
    return CommandResult(report.to_dict(), blocks, [str(report.path)])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_LEFT_OUT} more" if len(names) > MOST_LEFT_OUT else ""
    return f"{', '.join(names[:MOST_LEFT_OUT])}{more}"
