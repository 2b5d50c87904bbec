"""`deltareg rollback`: serve an earlier version again."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, VersionNumber, break_glass_option, option, reason_option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.channels import MOVE_FIELDS, move_blocks, move_details

ORDER = 90

TARGET = "Where to (one of them)"


@command(
    "rollback",
    Example("one step back", 'deltareg rollback me/chat --channel prod -m "refunds broke"'),
    Example("to a certain version", "deltareg rollback me/chat --channel prod --version v2 -m why"),
    Example("what would happen?", "deltareg rollback me/chat --channel prod --dry-run"),
    Example("although it is frozen", 'deltareg rollback me/chat --channel prod --break-glass -m "outage 4711"'),
    see_also=("promote", "channel show", "channel review", "help exit-codes"),
)
@click.argument("line", metavar="NS/NAME", help="The line.")
@option("--channel", required=True, type=ChannelParam(), help="The channel to roll back.")
@reason_option()
@break_glass_option()
@dry_run("Show where it would go and move nothing.")
@option(
    "--version", type=VersionNumber(), metavar="vN", section=TARGET, help="A version that the channel served before."
)
@option(
    "--revision",
    type=click.IntRange(1),
    metavar="N",
    section=TARGET,
    help="What the channel served as of this revision.",
)
@option(
    "--steps",
    type=click.IntRange(1, 1000),
    metavar="N",
    section=TARGET,
    help="So many versions back; one unless said otherwise.",
)
@click.pass_obj
def rollback(
    invocation: Invocation,
    line: str,
    *,
    channel: str,
    reason: str,
    break_glass: bool,
    version: int | None,
    revision: int | None,
    steps: int | None,
) -> None:
    """Make a channel serve an earlier version again, at once.

    A rollback is a new entry of the ledger; no byte is moved. The version rolled away from is
    quarantined on this channel, so that no script promotes it again before somebody clears it with
    a reason (deltareg channel clear).

    Within five revisions or 30 days the old passing verdict is enough, and a fresh run is queued
    afterwards. Beyond that the gate asks for a verdict first. deltareg channel show says where a
    rollback would go now, and whether it would get there.

    With --break-glass it goes through a freeze, and back beyond the window without a verdict; never
    to a version that is deleted or revoked. That takes a token made for it and a reason, stands in
    the ledger for good, and somebody else has to review it within a day (deltareg channel review).
    """
    if sum(choice is not None for choice in (version, revision, steps)) > 1:
        raise click.UsageError("give one of --version, --revision and --steps")
    move = invocation.client.rollback(
        line,
        channel,
        version=version,
        revision=revision,
        steps=steps,
        reason=reason,
        break_glass=break_glass,
        dry_run=invocation.globals.dry_run,
    )
    is_dry = invocation.globals.dry_run
    blocks = move_blocks(move, line, is_dry=is_dry)
    document = fields(move, *MOVE_FIELDS) | {"dry_run": is_dry}
    invocation.output.show(
        CommandResult(document, blocks, [f"{line}:v{move.version}"], move_details(move, is_dry=is_dry))
    )
