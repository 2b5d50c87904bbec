"""`deltareg materialize`: base and delta as one folder."""

from pathlib import Path

import click

from deltareg_cli.commands.deltas.pull import show_pulled
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import concurrency_option
from deltareg_cli.tree.help_page import Example

ORDER = 50


@command(
    "materialize",
    Example("the whole of what prod serves", "deltareg materialize me/chat@prod --out ./chat-full"),
    Example(
        "with the base at hand, in bfloat16",
        "deltareg materialize me/chat:v3 --out ./chat-full --base ./llama --dtype bf16",
    ),
    see_also=("pull", "base", "help references"),
    is_resumable=True,
)
@click.argument("ref", help="What to materialize; a bare NS/NAME is what @prod serves.")
@option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where it goes.")
@option(
    "--base",
    metavar="NAME|PATH",
    type=click.Path(path_type=Path),
    help="The base: its folder, or its name. Without it, it is found by its fingerprint.",
)
@option(
    "--dtype",
    type=click.Choice(["keep", "bf16"]),
    default="keep",
    show_default=True,
    help="What weights are written as.",
)
@concurrency_option()
@option("--expect", metavar="blake3:…", help="Fail unless the result has this fingerprint.")
@click.pass_obj
def materialize(
    invocation: Invocation, ref: str, *, out: Path, base: Path | None, dtype: str, expect: str | None
) -> None:
    """Fold a version into its base and write the result.

    The result has the file names and shards of the base. The base must have the fingerprint that
    the version was made for. It is looked for in the folders that the client has seen, where it
    was registered, in the Hugging Face cache, and last in the registry. A base that is a version
    comes as the registry stores it, put together from the base at the foot of the stack.

    Full, sparse and BitFit deltas come out bit for bit as they were trained. A LoRA is added to
    the base in float32 and rounded once.

    A folder that holds just that already, every file as it was written, is left as it is.
    """
    report = invocation.client.materialize(ref, out, base=base, dtype=dtype, expect=expect)
    show_pulled(invocation, report)
