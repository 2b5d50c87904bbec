"""`deltareg worker`: processes that verify."""

import click

from deltareg.words import RUN_KIND_NAMES
from deltareg_cli.commands.operations.worker_keys import enrol, keys, revoke, rotate
from deltareg_cli.commands.operations.worker_pool import pool
from deltareg_cli.commands.operations.worker_trust import trust
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.runs.launch import become, build_flags, connect
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import page_fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.runs import worker_table

ORDER = 20


@group(
    "worker",
    Example("take runs until stopped", "deltareg worker run"),
    Example("who works, and on what", "deltareg worker ls"),
    Example("whose findings count", "deltareg worker keys"),
    see_also=("up", "verify"),
)
def worker() -> None:
    """Run workers, and say whose findings count."""


@command(
    "run",
    Example("take runs until stopped", "deltareg worker run"),
    Example("one run and stop, on the second GPU", "deltareg worker run --once --gpu 1"),
    Example("only read what was pushed", "deltareg worker run --only prove"),
    see_also=("verify", "server run", "token create"),
)
@option("--once", is_flag=True, help="Take one run, if there is one, then stop.")
@option("--gpu", metavar="N|cpu|auto", help="The device; auto is the first GPU, if there is one.")
@option("--name", metavar="NAME", help="How it calls itself; each worker needs another name.")
@option(
    "--base-dir",
    "base_dirs",
    metavar="DIR",
    multiple=True,
    help="A folder with a base, or with folders of bases; may be repeated.",
)
@option(
    "--only",
    metavar="KIND",
    multiple=True,
    type=click.Choice(RUN_KIND_NAMES),
    help="Take runs of this kind alone, such as prove; may be repeated.",
)
@click.pass_obj
def run(
    invocation: Invocation,
    *,
    once: bool,
    gpu: str | None,
    name: str | None,
    base_dirs: tuple[str, ...],
    only: tuple[str, ...],
) -> None:
    """Take runs, check versions on their bases, send verdicts.

    A worker needs the address of the registry, a token that may read and verify, and a key that an
    admin has enrolled (deltareg-worker key prints it); no database and no bucket. What it reads of
    a version is read by a child process without network and credentials. The same checks run on a
    GPU and without one.

    A base is found by its fingerprint: in --base-dir, where this machine pushed or registered it
    from, in the Hugging Face cache, else it is fetched from the registry.
    """
    words, environ = connect(invocation.config)
    words += build_flags(once=once, gpu=gpu, name=name)
    words += [word for folder in base_dirs for word in build_flags(base_dir=folder)]
    words += [word for kind in only for word in build_flags(only=kind)]
    become("deltareg_verify", "run", *words, extras=["verify"], environ=environ)


@command("ls", Example("who works, and on what", "deltareg worker ls"), see_also=("worker run", "verdict ls"))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the workers of the last day and what each runs.

    What a worker offers is what verify --on asks for. One that is gone has not asked for work for a
    while; it may have been stopped.
    """
    page = invocation.client.runs.workers()
    table = worker_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [each.name for each in page.items]))


for _command in (run, ls, pool, enrol, keys, rotate, revoke, trust):
    worker.add_command(_command)
