"""`deltareg retention`: which versions a namespace or a line keeps, and which are deleted."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import AgeParam, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.wording import count, size
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.upkeep import retention_blocks

if TYPE_CHECKING:
    from deltareg.wire import RetentionInfo, RetentionRule

ORDER = 28
_DAY_S = 86_400.0

of_argument = click.argument("of", metavar="NS | NS/NAME", help="A namespace, or a line.")


@group(
    "retention",
    Example("what would go", "deltareg retention set team/chat --last 20 --younger 30d --dry-run"),
    Example("let it go", "deltareg retention set team/chat --last 20 --younger 30d"),
    see_also=("upkeep", "gc", "rm", "restore"),
)
def retention() -> None:
    """Delete versions by rule.

    What no part of a rule keeps is deleted within a day, in the name of who set the rule, each with
    an entry in the audit trail. deltareg restore brings it back, for a week unless the server says
    otherwise.

    Whatever the rule: what a channel serves or may be rolled back to stays, and what an agent
    serves, what another version was made from or stands on, what a suite names, what somebody asks
    to promote, and what has the label hold.
    """


@command("show", Example("of a line", "deltareg retention show team/chat"), see_also=("retention set",))
@of_argument
@click.pass_obj
def show(invocation: Invocation, of: str) -> None:
    """Show the rules of a namespace or a line, and what goes."""
    _show(invocation, invocation.client.storage.retention(of))


@command(
    "set",
    Example("the last 20, and a month", "deltareg retention set team --last 20 --younger 30d"),
    Example("by label", "deltareg retention set team/chat --last 5 --label 'release=*'"),
    Example("of one kind", "deltareg retention set team --kind full --last 2"),
    see_also=("retention show", "retention end"),
)
@of_argument
@option("--last", type=click.IntRange(0), metavar="N", help="Keep the newest so many of each line.")
@option("--younger", type=AgeParam(), metavar="AGE", help="Keep those that are younger.")
@option("--label", "labels", multiple=True, metavar="LABEL", help="Keep those with it: KEY or KEY=VALUE, with *.")
@option("--promoted/--no-promoted", default=True, help="Keep those that a channel ever served, as is the default.")
@option("--semver/--no-semver", default=True, help="Keep those with a semantic version, as is the default.")
@option("--kind", default="", metavar="KIND", help="The rule is for this kind of delta; others stay as they are.")
@option("--all", "confirm", is_flag=True, help="Even where a line loses all of its versions.")
@dry_run("Say what would go, and set nothing.")
@click.pass_obj
def set_(
    invocation: Invocation,
    of: str,
    *,
    last: int | None,
    younger: float | None,
    labels: tuple[str, ...],
    promoted: bool,
    semver: bool,
    kind: str,
    confirm: bool,
) -> None:
    """Set the rule of a namespace, or of a line, whose own is first."""
    from deltareg.wire import RetentionRule  # loads pydantic

    days = younger / _DAY_S if younger else None  # nothing is younger than 0
    rule = RetentionRule(kind=kind, last=last, days=days, promoted=promoted, semver=semver, labels=list(labels))
    known = invocation.client.storage.retention(of).rules
    others = [RetentionRule.model_validate(each.model_dump()) for each in known if each.kind != kind]
    _set(invocation, of, [*others, rule], confirm=confirm)


@command("end", Example("keep everything again", "deltareg retention end team/chat"), see_also=("retention set",))
@of_argument
@click.pass_obj
def end(invocation: Invocation, of: str) -> None:
    """End the rules of a namespace or a line."""
    _show(invocation, invocation.client.storage.set_retention(of, []))


def _set(invocation: Invocation, of: str, rules: "list[RetentionRule]", *, confirm: bool) -> None:
    storage, is_dry = invocation.client.storage, invocation.globals.dry_run
    would = storage.set_retention(of, rules, confirm=confirm, dry_run=True)
    if is_dry:
        _show(invocation, would, dry_run=True)
        return
    if would.plan.versions:
        invocation.confirm(f"Delete {count(would.plan.versions, 'version')} of {of}, {size(would.plan.bytes)}?")
    _show(invocation, storage.set_retention(of, rules, confirm=confirm))


def _show(invocation: Invocation, info: "RetentionInfo", *, dry_run: bool = False) -> None:
    blocks = retention_blocks(info, dry_run=dry_run)
    invocation.output.show(CommandResult({**fields(info, "of"), "dry_run": dry_run}, blocks, info.plan.refs))


for _command in (show, set_, end):
    retention.add_command(_command)
