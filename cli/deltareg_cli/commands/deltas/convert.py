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

    Pickles (.bin, .pt) become safetensors: the reader extracts tensors and executes nothing; a
    pickle that contains anything else is refused by name. Prefixes of FSDP, torch.compile and
    DistributedDataParallel are removed. With --base, the names of a LoRA, an IA3 or the like, trained on a
    language model alone, or with transformers 4, become those of the base. A LoRA of kohya, old
    diffusers, LyCORIS, ComfyUI, MLX or llama.cpp becomes one of peft. A full fine-tune becomes a
    sparse or BitFit delta where that is exact and smaller.

    --to mlx and --to gguf write a LoRA for MLX and llama.cpp; --to fused-experts joins the factors
    of single experts into those of a layer, and --to per-expert splits them. What has no exact form
    there is refused with the reason.

    The result is read again and compared with the input before the folder gets its name. Other
    files are copied; nothing at PATH is changed. `--to DIR` without --out names the new folder, as
    before there were layouts.
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
