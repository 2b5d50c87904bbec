"""`deltareg upkeep`: what a registry does by itself to stay in order."""

import time

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import AgeParam, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.upkeep import operation_blocks, operation_table

ORDER = 25
_WAIT_S, _POLL_S = 10.0, 0.2

operation_argument = click.argument("operation", help="Its name: collect, retain, tidy, ….")


@group(
    "upkeep",
    Example("what is due, and what came of it", "deltareg upkeep ls"),
    Example("no collection for now", "deltareg upkeep pause collect"),
    Example("go on", "deltareg upkeep resume collect"),
    see_also=("gc", "retention", "fsck"),
)
def upkeep() -> None:
    """See and steer what the registry does by itself.

    Servers do it, one of them at a time. One that is stopped loses nothing: another goes on from
    there. An operation takes a share of a process's time, so that others wait little.
    """


@command("ls", Example("all", "deltareg upkeep ls"), see_also=("upkeep show",))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List operations, when each is due, and how the last one ended."""
    found = invocation.client.storage.operations()
    document = {"operations": [each.to_dict() for each in found]}
    table = operation_table(found, now=invocation.now)
    invocation.output.show(CommandResult(document, [table], [each.kind for each in found]))


@command("show", Example("how far it is", "deltareg upkeep show collect"), see_also=("upkeep ls",))
@operation_argument
@click.pass_obj
def show(invocation: Invocation, operation: str) -> None:
    """Show an operation, and how far it is."""
    _show(invocation, operation)


@command("pause", Example("before a backup", "deltareg upkeep pause collect"), see_also=("upkeep resume",))
@operation_argument
@click.pass_obj
def pause(invocation: Invocation, operation: str) -> None:
    """Pause an operation, after the step that is under way."""
    _show(invocation, operation, paused=True)


@command("resume", Example("go on where it stopped", "deltareg upkeep resume collect"), see_also=("upkeep pause",))
@operation_argument
@click.pass_obj
def resume(invocation: Invocation, operation: str) -> None:
    """Let a paused operation go on where it stopped."""
    _show(invocation, operation, paused=False)


@command("run", Example("collect now", "deltareg upkeep run collect"), see_also=("upkeep show", "gc run"))
@operation_argument
@click.pass_obj
def run(invocation: Invocation, operation: str) -> None:
    """Ask for an operation now, and show the state after it.

    A server begins within seconds. One that takes longer than ten goes on, and upkeep show says how
    far it is. Of one that is paused, the state is shown at once.
    """
    storage = invocation.client.storage
    before = storage.operation(operation).ended_at
    found = storage.set_operation(operation, now=True)
    deadline = time.monotonic() + _WAIT_S
    while found.ended_at == before and found.state != "paused" and found.due_at and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        found = storage.operation(operation)
    blocks = operation_blocks(found, now=invocation.now)
    invocation.output.show(CommandResult(fields(found, "kind", "state"), blocks, [found.kind]))
    if found.ended_at == before:
        invocation.output.note(f"it has not ended yet: deltareg upkeep show {found.kind}")


@command(
    "set",
    Example("collect twice a day", "deltareg upkeep set collect --every 12h"),
    Example("never by itself", "deltareg upkeep set check --every 0s"),
    Example("more slowly", "deltareg upkeep set prove --percent 5"),
    see_also=("upkeep ls",),
)
@operation_argument
@option("--every", type=AgeParam(), metavar="AGE", help="How often; 0s is never by itself.")
@option(
    "--percent", type=click.IntRange(1, 100), metavar="N", help="Of the time of one process, how much it takes at most."
)
@click.pass_obj
def set_(invocation: Invocation, operation: str, *, every: float | None, percent: int | None) -> None:
    """Set how often an operation is done, and how much time it takes."""
    if every is None and percent is None:
        raise click.UsageError("say --every or --percent")
    _show(invocation, operation, every_s=every, percent=percent)


def _show(
    invocation: Invocation,
    operation: str,
    *,
    paused: bool | None = None,
    every_s: float | None = None,
    percent: int | None = None,
) -> None:
    """Change an operation, where something is to change, and show it."""
    storage = invocation.client.storage
    if any(value is not None for value in (paused, every_s, percent)):
        found = storage.set_operation(operation, paused=paused, every_s=every_s, percent=percent)
    else:
        found = storage.operation(operation)
    blocks = operation_blocks(found, now=invocation.now)
    invocation.output.show(CommandResult(fields(found, "kind", "state"), blocks, [found.kind]))


for _command in (ls, show, pause, resume, run, set_):
    upkeep.add_command(_command)
