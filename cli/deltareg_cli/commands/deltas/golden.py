"""`deltareg golden`: outputs that a delta has to give again, recorded into its folder."""

from pathlib import Path
from typing import cast

import click

from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg.words import CONVENTIONS
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.runs.golden_recorder import record as record_by_library
from deltareg_cli.runs.launch import require
from deltareg_cli.terminal.blocks import Block, Column, CommandResult, FactsBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import gpu_option
from deltareg_cli.tree.help_page import Example

ORDER = 25


@group(
    "golden",
    Example("by the library that wrote it", "deltareg golden record ./adapter --base llama-3.1-8b"),
    Example("what a folder has", "deltareg golden show ./adapter"),
    see_also=("push", "verify", "suite", "explain"),
)
def golden() -> None:
    """Record what a delta computes, for verification to find again.

    The process that trained a delta records best, in Python, once the delta is saved:
    deltareg.golden.record(model, tokenizer, None, "adapter").

    GoldenCallback does the same at every checkpoint of a Trainer. Where nobody did, these commands
    ask the library that wrote the delta; a push does that by itself where the library is installed
    and the base is at hand. Each says in the file which of the two it was.
    """


@command(
    "record",
    Example("on texts that come with it", "deltareg golden record ./adapter --base llama-3.1-8b"),
    Example("on texts of your own", "deltareg golden record ./adapter --base ./llama --prompts prompts.txt"),
    Example(
        "on images, or whatever the network takes",
        "deltareg golden record ./adapter --base ./vit --inputs inputs.safetensors",
    ),
    see_also=("push", "golden show"),
)
@click.argument("folder", type=click.Path(path_type=Path), help="The delta's folder.")
@option("--base", required=True, metavar="NAME|PATH", help="The base that it was made against.")
@option(
    "--prompts",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Texts, one a line; without it, short ones that come with this command.",
)
@option(
    "--inputs",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A safetensors file with inputs instead: input_ids, pixel_values, …",
)
@option(
    "--convention",
    type=click.Choice(CONVENTIONS),
    help="What bias-only and sparse values are: new values, or differences.",
)
@gpu_option()
@click.pass_obj
def record(
    invocation: Invocation,
    folder: Path,
    *,
    base: str,
    prompts: Path | None,
    inputs: Path | None,
    convention: str | None,
    gpu: str,
) -> None:
    """Ask the library that wrote a delta what it computes.

    The library loads base and delta by itself: peft an adapter, diffusers a LoRA of a pipeline,
    transformers a full fine-tune. What comes out goes into deltareg-golden.json in the folder,
    which a push takes along, and replaces what was recorded there before. The file says that the
    library computed it afterwards; a suite may ask for outputs of the training instead.
    """
    require("verify")
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", fix="name the folder that you would push")
    if prompts is not None and inputs is not None:
        raise InvalidInput("--prompts and --inputs are two ways to say it", fix="leave one out")
    if not gpu.isdecimal() and gpu not in {"cpu", "auto"}:
        raise InvalidInput(f"not a device: {gpu[:40]!r}", fix="--gpu 0, --gpu cpu or auto")
    if inputs is not None and not inputs.is_file():
        raise NotFound(f"there is no file {inputs}", fix="name a safetensors file with --inputs")
    request = {
        "delta": folder.absolute(),
        "base": _base_folder(invocation, base),
        "prompts": _prompts(prompts),
        "inputs": None if inputs is None else inputs.absolute(),
        "convention": convention or "",
        "device": f"cuda:{gpu}" if gpu.isdecimal() else gpu,
    }
    recording = record_by_library(invocation, request)
    blocks: list[Block] = [
        TitleBlock(str(folder), "recorded"),
        FactsBlock(
            [
                ("golden outputs", str(recording["told"])),
                ("inputs", count(cast("int", recording["samples"]), "forward")),
                ("written to", str(recording["file"])),
            ]
        ),
    ]
    invocation.output.show(CommandResult(dict(recording), blocks, [str(recording["file"])]))


@command(
    "show",
    Example("of a folder", "deltareg golden show ./adapter"),
    Example("of a version", "deltareg golden show me/chat:v3"),
    see_also=("push",),
)
@click.argument("ref", metavar="REF|PATH", help="A version, a delta's folder, or the file.")
@click.pass_obj
def show(invocation: Invocation, ref: str) -> None:
    """Show where golden outputs come from, of a version or a folder.

    Also whether its weights are still those that they were recorded with. A version is pulled into
    the cache for that.
    """
    path = Path(ref)
    if not path.exists() and _is_ref(ref):
        path = invocation.client.pull(ref).path
    outputs = invocation.client.folders.golden(path)
    columns = [Column("forward", is_number=True), Column("inputs"), Column("outputs")]
    rows: list[list[Text]] = [
        [str(number), ", ".join(one.inputs), ", ".join(one.outputs)] for number, one in enumerate(outputs.samples, 1)
    ]
    changed = ", ".join(outputs.changed)
    blocks: list[Block] = [
        TitleBlock(ref, outputs.description),
        FactsBlock(
            [
                ("weights", f"changed since: {changed}" if changed else "as they were"),
                ("software", ", ".join(f"{k} {v}" for k, v in sorted(outputs.software.items()))),
                ("packed base", outputs.quantised),
                ("first batches", outputs.first_batches),
                ("saved at", outputs.progress),
            ]
        ),
        TableBlock(columns, rows, if_empty="no forward was recorded"),
    ]
    invocation.output.show(CommandResult(outputs.to_dict(), blocks, [outputs.how]))


def _is_ref(text: str) -> bool:
    """Whether a text could name a version; one that begins with a dot or a slash is a path."""
    if text.startswith((".", "/", "~")):
        return False
    try:
        Ref.parse(text)
    except InvalidInput:
        return False
    return True


def _base_folder(invocation: Invocation, base: str) -> Path:
    """Return the folder of a base: the one that `base` names, or where its bytes are on this machine."""
    if Path(base).is_dir():
        return Path(base).absolute()
    with invocation.client.bases.fetch(base) as opened:
        return opened.path.absolute()


def _prompts(path: Path | None) -> list[str]:
    if path is None:
        return []
    if not path.is_file():
        raise NotFound(f"there is no file {path}", fix="name a file with one text a line")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [line for line in lines if line]
    if not 0 < len(texts) <= 64:  # what the file of outputs may hold
        raise InvalidInput(f"{path} has {len(texts)} texts", fix="write 1 to 64, one a line")
    return texts


for _command in (record, show):
    golden.add_command(_command)
