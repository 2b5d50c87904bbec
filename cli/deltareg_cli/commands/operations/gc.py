"""`deltareg gc`: collection of bytes that nothing refers to."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import AgeParam, option
from deltareg_cli.terminal.blocks import CommandResult, FactsBlock, TitleBlock
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.wording import size
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import CollectReport

ORDER = 30

grace_option = option(
    "--grace",
    type=AgeParam(),
    metavar="AGE",
    help="How long deleted versions and idle uploads are kept; the server decides by default.",
)
forms_option = option(
    "--forms",
    type=AgeParam(),
    metavar="AGE",
    help="How long former stored forms are kept; the server decides by default.",
)


@group(
    "gc",
    Example("what would be freed", "deltareg gc plan"),
    Example("free it", "deltareg gc run"),
    see_also=("upkeep", "rm", "fsck"),
)
def gc() -> None:
    """Collect bytes that nothing refers to.

    Those of deleted versions after a week, and of uploads that were given up after a day, unless the
    server or --grace says otherwise. The registry does it by itself once a day (upkeep). It is safe
    beside pushes, and keeps what channels served of late, so that it can be rolled back to, and how
    a version was stored before it was stored anew: for a week, unless the server or --forms says
    otherwise. Logs of runs that ended long ago go, too.
    """


@command("plan", Example("what would be freed", "deltareg gc plan"), see_also=("gc run",))
@grace_option
@forms_option
@click.pass_obj
def plan(invocation: Invocation, *, grace: float | None, forms: float | None) -> None:
    """Say what collection would free, and free nothing."""
    collect = invocation.client.storage.collect
    _show(invocation, collect(dry_run=True, grace_s=grace, keep_forms_s=forms), grace)


@command("run", Example("free it", "deltareg gc run"), see_also=("gc plan", "fsck"))
@grace_option
@forms_option
@dry_run("The same as gc plan.")
@click.pass_obj
def run(invocation: Invocation, *, grace: float | None, forms: float | None) -> None:
    """Free the bytes that nothing refers to."""
    collect, is_dry = invocation.client.storage.collect, invocation.globals.dry_run
    _show(invocation, collect(dry_run=is_dry, grace_s=grace, keep_forms_s=forms), grace)


def _show(invocation: Invocation, report: "CollectReport", grace: float | None) -> None:
    waiting = _waiting(invocation, report) if grace is None else 0
    title = "would be freed" if report.dry_run else "freed"
    facts = FactsBlock(
        [
            ("bytes", size(report.bytes)),
            ("packs", f"{report.packs:,}"),
            ("objects", f"{report.objects:,}"),
            ("uploads", f"{report.uploads_expired:,} expired"),
            ("run logs", f"{report.run_logs:,}"),
            ("held", "a backup runs; what is left goes with the next collection" if report.is_held else ""),
            ("waiting", f"{size(waiting)} until their grace is over; --grace 0s does not wait" if waiting else ""),
        ]
    )
    document = {**fields(report, "dry_run", "bytes"), "waiting_bytes": waiting}
    invocation.output.show(CommandResult(document, [TitleBlock(title), facts]))


def _waiting(invocation: Invocation, report: "CollectReport") -> int:
    """Count the bytes that the server keeps until its grace is over."""
    whole = invocation.client.storage.collect(dry_run=True, grace_s=0.0)
    return max(0, whole.bytes - (report.bytes if report.dry_run else 0))


gc.add_command(plan)
gc.add_command(run)
