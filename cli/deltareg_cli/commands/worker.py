"""`deltareg worker`: processes that verify."""

import click

from deltareg_cli.command_tree import command, group
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.launch import become, given
from deltareg_cli.options import option


@group(
    "worker", Example("take runs until stopped", "deltareg worker run"), see_also=("up", "verify")
)
def worker() -> None:
    """Run workers, which check versions on their bases."""


@command(
    "run",
    Example("take runs until stopped", "deltareg worker run"),
    Example("one run and stop, on the second GPU", "deltareg worker run --once --gpu 1"),
    see_also=("verify", "server run", "token create"),
)
@option("--once", is_flag=True, help="Take one run, then stop.")
@option("--gpu", metavar="N", type=click.IntRange(0), help="The GPU to use; any by default.")
@click.pass_obj
def run(invocation: Invocation, *, once: bool, gpu: int | None) -> None:
    """Take runs from the registry, check versions on their bases, and send verdicts.

    A worker needs the address of the registry and a token for verifying, no database and no bucket.
    What it reads of a version is read by a child process without network and credentials. The same
    checks run on a GPU and without one.
    """
    config = invocation.config
    environ = {"DELTAREG_TOKEN": config.token} if config.token else {}
    if gpu is not None:
        environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    words = given(server=config.server, once=once)
    become("deltareg_verify", "run", *words, extras=["verify"], environ=environ)


worker.add_command(run)
