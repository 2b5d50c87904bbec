"""`deltareg probe`: what a version computes, on inputs of one's own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import click

from deltareg.errors import InvalidInput, NotFound
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.runs.launch import ask, require
from deltareg_cli.terminal.blocks import Block, Column, CommandResult, FactsBlock, TableBlock, TitleBlock
from deltareg_cli.terminal.wording import clean, count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import gpu_option
from deltareg_cli.tree.help_page import Example

ORDER = 20


@command(
    "probe",
    Example(
        "the logits of base and delta", "deltareg probe me/chat:v3 --inputs ids.safetensors --out logits.safetensors"
    ),
    Example(
        "the delta on two layers only",
        "deltareg probe me/chat --inputs ids.safetensors --out logits.safetensors \\\n"
        "    --include '*.layers.0' --include '*.layers.1'",
    ),
    see_also=("verify", "materialize", "help references"),
)
@click.argument("ref", help="What to probe; a bare NS/NAME is its newest version.")
@option(
    "--inputs",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A safetensors file: input_ids, attention_mask, pixel_values, …",
)
@option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the outputs go, a safetensors file.",
)
@option("--folded", is_flag=True, help="Fold the delta into the weights; else it is attached.")
@option("--include", multiple=True, metavar="GLOB", help="Take what is on these modules only; may be repeated.")
@gpu_option()
@click.pass_obj
def probe(
    invocation: Invocation, ref: str, *, inputs: Path, out: Path, folded: bool, include: tuple[str, ...], gpu: str
) -> None:
    """Run base and delta once and write what comes out.

    Every output of real numbers is written in float32 under its own name: logits,
    logits_per_image, last_hidden_state. The names of the inputs are those that the network's
    forward has.

    The network is loaded by transformers from the base's files, and the delta is put on by the
    registry's own code, as verification does it. A module is named by its path in the network; a
    pattern takes all that lies in it.
    """
    require("verify")
    if not inputs.is_file():
        raise NotFound(f"there is no file {inputs}", fix="name a safetensors file with --inputs")
    if not gpu.isdecimal() and gpu not in {"cpu", "auto"}:
        raise InvalidInput(f"not a device: {gpu[:40]!r}", fix="--gpu 0, --gpu cpu or auto")
    client = invocation.client
    version = client.show(ref)
    pulled = client.pull(version.ref)
    with client.bases.fetch(client.bases.show(version.base.name)) as base:
        request = {
            "delta": pulled.path,
            "base": base.path,
            "inputs": inputs.absolute(),
            "out": out.absolute(),
            "cache": invocation.config.cache_dir,
            "include": include,
            "convention": str(version.config.get("convention", "")),
            "is_folded": folded,
            "device": f"cuda:{gpu}" if gpu.isdecimal() else gpu,
        }
    document = ask("probe", json.dumps(request, default=str))
    for name in cast("list[str]", document["silent"]):
        invocation.output.note(f"warning: no forward used {clean(name)}")
    invocation.output.show(probe_answer(version.ref, out, document))


def probe_answer(ref: str, out: Path, found: Mapping[str, object]) -> CommandResult:
    """Show the computed outputs."""
    outputs = cast("dict[str, list[int]]", found["outputs"])
    effects = count(cast("int", found["effects"]), "effect")
    silent = len(cast("list[str]", found["silent"]))
    columns = [Column("output"), Column("shape")]
    blocks: list[Block] = [
        TitleBlock(ref, str(found["state"])),
        FactsBlock(
            [
                ("written to", str(out)),
                ("delta", f"{effects}, {silent} of them silent" if silent else effects),
                ("device", str(found["device"])),
            ]
        ),
        TableBlock(columns, [[name, str(shape)] for name, shape in outputs.items()]),
    ]
    return CommandResult({"ref": ref, "out": str(out), **found}, blocks, [str(out)])
