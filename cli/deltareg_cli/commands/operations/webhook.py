"""`deltareg webhook`: events sent to others."""

import click

from deltareg.words import DELIVERY_STATES
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import AgeParam, cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.events import delivery_table, secret_blocks, tested_blocks, webhook_blocks, webhook_table

ORDER = 64


@group(
    "webhook",
    Example(
        "tell a service of a team's promotions",
        "deltareg webhook add team https://hooks.example.org/ml --type channel.promoted",
    ),
    Example("does it arrive?", "deltareg webhook deliveries wh_4f0c9a7e21b3d856"),
    see_also=("events", "member"),
)
def webhook() -> None:
    """Send events to others, over HTTP.

    Owners of a namespace have webhooks for it, admins also for everything. What is sent is signed
    in the form of Standard Webhooks, so that a receiver checks with a library that it is from here.
    Each event arrives at least once, those of one subject in their order; what fails is tried for a
    day, and is then dead until it is sent again.
    """


webhook_argument = click.argument("webhook_id", metavar="WEBHOOK", help="Its id.")
namespace_argument = click.argument("namespace", metavar="[NS]", required=False, help="The namespace.")
everywhere_option = option("--everywhere", is_flag=True, help="Of all namespaces, for admins.")


@command(
    "add",
    Example(
        "promotions and rollbacks",
        "deltareg webhook add team https://hooks.example.org/ml --type channel.promoted --type channel.rolled_back",
    ),
    Example(
        "into a channel that people read",
        "deltareg webhook add team https://hooks.slack.com/services/T0/B0/x --form slack --type 'request.*'",
    ),
    Example("everything, as an admin", "deltareg webhook add --everywhere https://siem.example.org"),
    see_also=("webhook test", "webhook deliveries", "events ls"),
)
@click.argument("namespace", metavar="NS", help="The namespace; left out with --everywhere.")
@click.argument("url", metavar="[URL]", required=False, help="Where events are sent.")
@option("--everywhere", is_flag=True, help="Of all namespaces, for admins.")
@option("--lines", default="", metavar="PATTERN", help="Only of these lines: 'bert-*'.")
@option(
    "--type",
    "types",
    multiple=True,
    default=("*",),
    show_default="all",
    metavar="TYPE",
    help="Only these: channel.promoted, or channel.*; may be repeated.",
)
@option(
    "--form",
    metavar="NAME",
    default="cloudevents",
    show_default=True,
    help="cloudevents for programs, slack or teams for people, or what else the server writes.",
)
@option("--note", default="", metavar="TEXT", help="What it is for.")
@click.pass_obj
def add(
    invocation: Invocation,
    namespace: str,
    url: str | None,
    *,
    everywhere: bool,
    lines: str,
    types: tuple[str, ...],
    form: str,
    note: str,
) -> None:
    """Make a webhook, and show its secret this once.

    The receiver checks signatures with the secret. The registry keeps it sealed, and the address as
    well, for that may be a secret, too. Addresses in private networks are refused unless the server
    allows them.
    """
    if everywhere != (url is None):
        raise click.UsageError("name the namespace and the URL; with --everywhere the URL alone")
    made = invocation.client.webhooks.add(
        namespace if url is None else url,
        namespace=None if everywhere else namespace,
        lines=lines,
        types=types,
        form=form,
        note=note,
    )
    blocks = secret_blocks(made, now=invocation.now, what="made")
    invocation.output.show(CommandResult(fields(made, "secret"), blocks, [made.webhook.id]))
    invocation.output.note(
        f"keep the secret now, it is not shown again. Try it: deltareg webhook test {made.webhook.id}"
    )


@command(
    "ls",
    Example("of a namespace", "deltareg webhook ls team"),
    Example("all, as an admin", "deltareg webhook ls --everywhere"),
    see_also=("webhook show", "webhook deliveries"),
)
@namespace_argument
@everywhere_option
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, namespace: str | None, *, everywhere: bool, limit: int, cursor: str | None) -> None:
    """List webhooks, with what is due and what is dead."""
    if (namespace is None) != everywhere:
        raise click.UsageError("name a namespace, or --everywhere")
    page = invocation.client.webhooks.list(namespace, cursor=cursor, limit=limit)
    ids = [each.id for each in page.items]
    invocation.output.show(CommandResult(page_fields(page), [webhook_table(page.items)], ids))
    note_more(invocation.output, page.next_cursor)


@command(
    "show", Example("one", "deltareg webhook show wh_4f0c9a7e21b3d856"), see_also=("webhook deliveries", "webhook test")
)
@webhook_argument
@click.pass_obj
def show(invocation: Invocation, webhook_id: str) -> None:
    """Show a webhook: where it goes, and how that goes."""
    hook = invocation.client.webhooks.show(webhook_id)
    blocks = webhook_blocks(hook, now=invocation.now)
    invocation.output.show(CommandResult(fields(hook, "id"), blocks, [hook.id]))


@command(
    "test",
    Example("does it arrive?", "deltareg webhook test wh_4f0c9a7e21b3d856"),
    see_also=("webhook deliveries", "help exit-codes"),
)
@webhook_argument
@click.pass_obj
def test(invocation: Invocation, webhook_id: str) -> ExitStatus:
    """Send a webhook a test now, once, and show what was answered.

    Its type is webhook.tested. Exit status: 0 it arrived, 10 it did not.
    """
    tested = invocation.client.webhooks.test(webhook_id)
    blocks = tested_blocks(webhook_id, tested)
    invocation.output.show(CommandResult(fields(tested, "is_ok"), blocks, [webhook_id]))
    return ExitStatus.DONE if tested.is_ok else ExitStatus.DIFFERENT


@command(
    "rotate",
    Example("another secret, both for a day", "deltareg webhook rotate wh_4f0c9a7e21b3d856"),
    Example("the old one got out", "deltareg webhook rotate wh_4f0c9a7e21b3d856 --keep-former 0s"),
    see_also=("webhook add", "webhook test"),
)
@webhook_argument
@option(
    "--keep-former",
    type=AgeParam(),
    default="24h",
    show_default=True,
    help="How long the former secret signs as well, up to 7 days.",
)
@click.pass_obj
def rotate(invocation: Invocation, webhook_id: str, *, keep_former: float) -> None:
    """Give a webhook another secret, and show it this once.

    For a while what is sent is signed with both, so the receiver changes when it likes. The webhook
    answers to you from now on, and one that was off is on again.
    """
    made = invocation.client.webhooks.rotate(webhook_id, keep_s=int(keep_former))
    blocks = secret_blocks(made, now=invocation.now, what="rotated")
    invocation.output.show(CommandResult(fields(made, "secret"), blocks, [made.webhook.id]))
    invocation.output.note("keep the secret now, it is not shown again")


@command("rm", Example("one", "deltareg webhook rm wh_4f0c9a7e21b3d856"), see_also=("webhook ls",))
@webhook_argument
@click.pass_obj
def rm(invocation: Invocation, webhook_id: str) -> None:
    """Take a webhook away, with what is still due to it."""
    removed = invocation.client.webhooks.remove(webhook_id)
    blocks = webhook_blocks(removed, now=invocation.now, what="taken away")
    invocation.output.show(CommandResult(fields(removed, "id"), blocks, [removed.id]))


@command(
    "deliveries",
    Example("newest first", "deltareg webhook deliveries wh_4f0c9a7e21b3d856"),
    Example("what was given up", "deltareg webhook deliveries wh_4f0c9a7e21b3d856 --state dead"),
    see_also=("webhook redeliver", "webhook test"),
)
@webhook_argument
@option("--state", type=click.Choice(DELIVERY_STATES), help="Only those in this state.")
@limit_option()
@cursor_option()
@click.pass_obj
def deliveries(invocation: Invocation, webhook_id: str, *, state: str | None, limit: int, cursor: str | None) -> None:
    """List what was sent to a webhook, and what became of it.

    The JSON has every try.
    """
    page = invocation.client.webhooks.deliveries(webhook_id, state=state, cursor=cursor, limit=limit)
    table = delivery_table(page.items, now=invocation.now)
    ids = [str(each.id) for each in page.items]
    invocation.output.show(CommandResult(page_fields(page), [table], ids))
    note_more(invocation.output, page.next_cursor)


@command(
    "redeliver",
    Example("one", "deltareg webhook redeliver wh_4f0c9a7e21b3d856 4711"),
    Example("all that were given up", "deltareg webhook redeliver wh_4f0c9a7e21b3d856 --dead"),
    see_also=("webhook deliveries",),
)
@webhook_argument
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(1), help="Which deliveries.")
@option("--dead", is_flag=True, help="All that are dead.")
@click.pass_obj
def redeliver(invocation: Invocation, webhook_id: str, numbers: tuple[int, ...], *, dead: bool) -> None:
    """Send something again, with the id that it had.

    What is still pending stays as it is.
    """
    deliveries = invocation.client.webhooks.redeliver(webhook_id, numbers, dead=dead)
    invocation.output.show(CommandResult(fields(deliveries), [], [webhook_id]))
    verb = "is" if deliveries.number == 1 else "are"
    invocation.output.note(f"{count(deliveries.number, 'delivery', 'deliveries')} {verb} due again")


for _command in (add, ls, show, test, rotate, rm, deliveries, redeliver):
    webhook.add_command(_command)
