"""`deltareg channel rm`: delete a channel that nobody follows."""

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example


@command(
    "rm",
    Example("one that nobody needs", "deltareg channel rm me/chat canary"),
    Example("bring it back", "deltareg channel create me/chat canary"),
    see_also=("channel create", "mv", "rm"),
)
@click.argument("line", metavar="NS/NAME", help="The line, or NS/NAME@CHANNEL.")
@click.argument("name", metavar="[CHANNEL]", required=False, help="The channel.")
@dry_run("Look whether it may be deleted, and delete nothing.")
@click.pass_obj
def rm(invocation: Invocation, line: str, name: str | None) -> None:
    """Delete a channel that no agent follows.

    Nobody can pull by its name any more, and what it served can be deleted. Its ledger stays in the
    audit trail; deltareg channel create brings it back with its ledger, its policy and what it
    served. It needs the role owner.
    """
    ref = Ref.parse(line)
    channel = name or ref.channel
    if channel is None:
        raise InvalidInput(f"{line} names no channel", fix=f"deltareg channel rm {ref.line} CHANNEL")
    is_dry = invocation.globals.dry_run
    if not is_dry:
        invocation.confirm(f"Delete {ref.line}@{channel}?")
    info = invocation.client.channels.delete(str(ref.line), channel, dry_run=is_dry)
    served = f", which served v{info.version}" if info.version else ""
    outcome = f"{'would be' if is_dry else 'is'} deleted{served}"
    document = {"line": str(ref.line), "channel": info.channel, "version": info.version, "dry_run": is_dry}
    lines = LinesBlock([[Cell(f"{ref.line}@{info.channel}", "name"), outcome]])
    invocation.output.show(CommandResult(document, [lines], [info.channel]))
