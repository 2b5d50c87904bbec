"""`deltareg suite`: what verifications check."""

from collections.abc import Sequence
from pathlib import Path

import click

from deltareg_cli.commands.promotion.suite_backtest import backtest
from deltareg_cli.commands.promotion.suite_init import init
from deltareg_cli.commands.promotion.suite_lint import lint
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import Column, CommandResult, TableBlock
from deltareg_cli.terminal.documents import as_it_is, fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.policy_warnings import warn_of_suite
from deltareg_cli.views.suites import suite_blocks, suite_table

ORDER = 40

FIRST = ("name", "version", "digest", "checks", "sets")
PUSHED = ("name", "version", "digest", "created", "checks", "sets")


@group(
    "suite",
    Example("what there is", "deltareg suite ls"),
    Example("one of your own", "deltareg suite init me/chat --data held-out.jsonl"),
    Example("what it would have caught", "deltareg suite backtest me-chat-suite/me-chat.yaml me/chat"),
    see_also=("verify", "gate"),
)
def suite() -> None:
    """Say what verifications check, on which samples.

    A suite is one YAML file: checks, thresholds, probe sets. Each push makes a version of it; a
    verdict counts while the suite is what it was.
    """


@command("ls", Example("all of them", "deltareg suite ls"), see_also=("suite show",))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the suites, built-in ones first."""
    page = invocation.client.suites.list()
    table = suite_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [one.name for one in page.items]))


@command(
    "show",
    Example("its checks", "deltareg suite show smoke"),
    Example("to begin one of your own", "deltareg suite show deep --yaml > mine.yaml"),
    see_also=("suite push", "suite ls"),
)
@click.argument("name", help="The suite.")
@option("--digest", metavar="SHA256", help="As it was under this digest, which verdicts name.")
@option("--versions", "is_versions", is_flag=True, help="List its versions instead.")
@option("--yaml", "is_yaml", is_flag=True, help="Write it as YAML, every default filled in.")
@limit_option()
@cursor_option()
@click.pass_obj
def show(
    invocation: Invocation,
    name: str,
    *,
    digest: str | None,
    is_versions: bool,
    is_yaml: bool,
    limit: int,
    cursor: str | None,
) -> None:
    """Show a suite with its checks, thresholds and probe sets."""
    suites = invocation.client.suites
    if is_versions:
        page = suites.versions(name, cursor=cursor, limit=limit)
        table = suite_table(page.items, now=invocation.now)
        invocation.output.show(CommandResult(page_fields(page), [table], [one.digest for one in page.items]))
        note_more(invocation.output, page.next_cursor)
        return
    details = suites.show(name, digest=digest)
    blocks = suite_blocks(details, now=invocation.now)
    raw = suites.as_yaml(details) if is_yaml else None
    invocation.output.show(CommandResult(as_it_is(details, *FIRST), blocks, [details.digest], raw=raw))


@command(
    "push",
    Example("with the files that it names", "deltareg suite push reviews.yaml"),
    Example("only look whether it is right", "deltareg suite push reviews.yaml --dry-run"),
    see_also=("suite show", "verify"),
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), help="The suite's YAML file.")
@dry_run("Read and check everything, send nothing.")
@click.pass_obj
def push(invocation: Invocation, path: Path) -> None:
    """Keep a new version of a suite with its probe sets.

    The files lie beside it. A suite that is the newest version already is left as it is. Needs a
    token that may administer: a suite decides what may be promoted.
    """
    suites, is_dry = invocation.client.suites, invocation.globals.dry_run
    details = suites.look(path) if is_dry else suites.push(path)
    blocks = suite_blocks(details, now=invocation.now)
    invocation.output.show(CommandResult(fields(details, *PUSHED), blocks, [details.digest]))
    warn_of_suite(invocation, details)
    if not is_dry and not details.created:
        invocation.output.note(f"{details.name} v{details.version} is that already")


@command("checks", Example("what a suite may name", "deltareg suite checks"), see_also=("suite push",))
@click.pass_obj
def checks(invocation: Invocation) -> None:
    """List the checks that a suite may name, with their parameters."""
    available = invocation.client.suites.checks()
    columns = [
        Column("check"),
        Column("shows", is_prose=True),
        Column("probes"),
        Column("against"),
        Column("parameters", is_prose=True),
    ]
    rows = [
        [
            one.name,
            one.form.about,
            ", ".join(one.form.probes),
            ", ".join(one.form.against),
            ", ".join(
                _describe_parameter(name, value, one.form.choices.get(name, ()))
                for name, value in one.form.parameters.items()
            ),
        ]
        for one in available
    ]
    items = [one.document for one in available]
    invocation.output.show(
        CommandResult({"items": items}, [TableBlock(columns, rows)], [one.name for one in available])
    )


def _describe_parameter(name: str, value: str | int | None, words: Sequence[str]) -> str:
    """Describe a parameter: its default first, then the words that it may be instead."""
    first = "(needed)" if value is None else str(value)
    others = [word for word in words if word != value]
    return f"{name} {'|'.join([first, *others])}"


for _command in (init, lint, backtest, push, ls, show, checks):
    suite.add_command(_command)
