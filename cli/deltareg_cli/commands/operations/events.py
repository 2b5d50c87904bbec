"""`deltareg events`: what was done, as it happens."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import limit_option, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.output import to_json
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.events import event_line, event_table

if TYPE_CHECKING:
    from deltareg.wire import Event

ORDER = 62


@group(
    "events",
    Example("the newest", "deltareg events ls"),
    Example("as they come", "deltareg events tail me/chat"),
    see_also=("webhook", "log", "audit"),
)
def events() -> None:
    """See what happens in the registry, as events.

    Events are CloudEvents in one order. They tell of versions, proofs, verdicts, requests,
    channels, bases and drift, of what you may read; deltareg webhook sends them elsewhere. They are
    kept for a week; deltareg log and deltareg audit go back further.
    """


of_argument = click.argument("of", metavar="[NS[/NAME]]", required=False, help="A namespace or a line; else all.")
type_option = option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Only these: channel.promoted, or channel.*; may be repeated.",
)


@command(
    "ls",
    Example("the newest", "deltareg events ls"),
    Example("what moved channels of a line", "deltareg events ls me/chat --type 'channel.*'"),
    Example("on from one, for a script", "deltareg events ls --after 1042-6446f1a30c2aa --json"),
    see_also=("events tail", "webhook deliveries", "log"),
)
@of_argument
@type_option
@option("--after", metavar="ID", help="Those that came after this event, rather than the newest.")
@limit_option()
@click.pass_obj
def ls(invocation: Invocation, of: str | None, *, types: tuple[str, ...], after: str | None, limit: int) -> None:
    """List events, the newest last.

    The JSON has CloudEvents, and in next after which event to go on.
    """
    page = invocation.client.events.list(of, types=types, after=after, newest=after is None, limit=limit)
    table = event_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(fields(page, "items", "next"), [table], _ids(page.items)))
    if page.is_more and after is not None:
        invocation.output.note(f"there is more: --after {page.next}")


@command(
    "tail",
    Example("all that happens", "deltareg events tail"),
    Example(
        "run something at each promotion",
        "deltareg events tail me/chat --type channel.promoted --json | while read -r event; do …",
    ),
    Example("on from where a script was", "deltareg events tail --after 1042-6446f1a30c2aa --json"),
    see_also=("events ls", "agent run", "webhook add"),
)
@of_argument
@type_option
@option("--after", metavar="ID", help="First what came after this event.")
@click.pass_obj
def tail(invocation: Invocation, of: str | None, *, types: tuple[str, ...], after: str | None) -> None:
    """Show events as they come, until Ctrl-C.

    Each comes once, in order; a connection that breaks is opened again and nothing is lost. With
    --json each is a line, a CloudEvent.
    """
    is_bare = invocation.output.is_quiet or invocation.output.is_for_scripts
    if not is_bare:
        invocation.output.note("events as they come. Ctrl-C stops it")
    for event in invocation.client.events.follow(of, types=types, after=after):
        _show(invocation, event)


def _show(invocation: Invocation, event: "Event") -> None:
    output = invocation.output
    if output.is_for_scripts and output.format != "yaml":
        output.line(to_json(fields(event)))
        return
    output.show(CommandResult(fields(event), [event_line(event)], [event.id]))


def _ids(items: list["Event"]) -> list[str]:
    return [event.id for event in items]


for _command in (ls, tail):
    events.add_command(_command)
