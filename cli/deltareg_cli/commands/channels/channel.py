"""`deltareg channel`: channels and their ledgers."""

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg_cli.commands.channels.channel_export import export
from deltareg_cli.commands.channels.channel_policy import policy
from deltareg_cli.commands.channels.channel_rm import rm
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import (
    ChannelParam,
    RevisionNumber,
    VersionNumber,
    cursor_option,
    limit_option,
    option,
    required_reason_option,
)
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.channels import (
    MOVE_FIELDS,
    channel_blocks,
    channel_table,
    ledger_table,
    move_blocks,
    move_details,
    readiness_blocks,
    reviewed_blocks,
)
from deltareg_cli.views.fleet import followers_of_channel
from deltareg_cli.views.policy_warnings import warn_of_time
from deltareg_cli.views.serving import ChannelSurroundings, channel_answer

ORDER = 10


@group(
    "channel",
    Example("what every channel of a line serves", "deltareg channel ls me/chat"),
    Example("how prod came to where it is", "deltareg channel history me/chat prod"),
    see_also=("promote", "rollback", "help references"),
    of_reference="show",
)
def channel() -> None:
    """Look at channels, their ledgers and quarantines.

    Every line has dev, staging and prod. Channels are moved by promote and rollback, unless they
    are frozen, and every move is an entry of an append-only ledger.
    """


line_argument = click.argument("line", metavar="NS/NAME", help="The line, or NS/NAME@CHANNEL.")
channel_argument = click.argument("name", metavar="[CHANNEL]", type=ChannelParam(), required=False, help="The channel.")


@command("ls", Example("all of them", "deltareg channel ls me/chat"), see_also=("channel show",))
@click.argument("line", metavar="NS/NAME", help="The line.")
@click.pass_obj
def ls(invocation: Invocation, line: str) -> None:
    """List the channels of a line with what they serve."""
    page = invocation.client.channels.list(line)
    table = channel_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [item.channel for item in page.items]))


@command(
    "create",
    Example("a channel of your own", "deltareg channel create me/chat canary"),
    see_also=("channel ls", "promote"),
)
@click.argument("line", metavar="NS/NAME", help="The line.")
@click.argument("name", metavar="CHANNEL", help="What the channel is called.")
@click.pass_obj
def create(invocation: Invocation, line: str, name: str) -> None:
    """Make a channel beside dev, staging and prod.

    It asks for a passing smoke, as they do.
    """
    created = invocation.client.channels.create(line, name)
    blocks = channel_answer(created, line, now=invocation.now)
    invocation.output.show(CommandResult(fields(created), blocks, [created.channel]))


@command(
    "show",
    Example("what prod serves now", "deltareg channel show me/chat prod"),
    Example("what prod served then", "deltareg channel show me/chat prod --at 2026-03-01T12:00:00Z"),
    see_also=("channel history", "fleet", "rollback"),
)
@line_argument
@channel_argument
@option("--at", metavar="TIME", help="As of this time: RFC 3339, as in 2026-03-01T12:00:00Z.")
@click.pass_obj
def show(invocation: Invocation, line: str, name: str | None, *, at: str | None) -> None:
    """Show what a channel serves, by whom and why, and who follows.

    What it serves is unfit when it would not be let onto the channel now, for what it is: it has
    failed since, was revoked, or stands on or was merged from what was. The channel serves it all the
    same; roll back.

    Below that: which hosts serve it (see deltareg agent), what waits for approvals, where a rollback
    would go and what is in its way. With -v the rollback is shown light by light (ok, warn, or no),
    and every host with its version and its last report. Moves that broke the glass are listed until
    somebody else has reviewed them.
    """
    line, name = _place(line, name)
    info = invocation.client.channels.show(line, name, at=at)
    document, beside = fields(info), ChannelSurroundings()
    details = channel_blocks(info, line, now=invocation.now)[1:]
    if at is None:
        ready = invocation.client.channels.readiness(line, name)
        followers = invocation.client.fleet.list(f"{line}@{name}", limit=200).items
        requests = invocation.client.requests.list(line, channel=name, state="open").items
        beside = ChannelSurroundings(ready, followers, requests)
        document |= {"readiness": fields(ready), "followers": [fields(follower) for follower in followers]}
        document["requests"] = [fields(request) for request in requests]
        details += [*readiness_blocks(ready), *followers_of_channel(followers)]
    blocks = channel_answer(info, line, now=invocation.now, beside=beside)
    invocation.output.show(CommandResult(document, blocks, [info.ref] if info.ref else [], details))


@command(
    "history",
    Example("newest first", "deltareg channel history me/chat prod"),
    see_also=("channel show", "rollback", "log"),
)
@line_argument
@channel_argument
@limit_option()
@cursor_option()
@click.pass_obj
def history(invocation: Invocation, line: str, name: str | None, *, limit: int, cursor: str | None) -> None:
    """Show the ledger of a channel, newest first.

    Every promotion, rollback, freeze and its end is an entry, and no entry is ever changed.
    """
    line, name = _place(line, name)
    page = invocation.client.channels.history(line, name, cursor=cursor, limit=limit)
    ids = [f"{line}@{name}#{item.revision}" for item in page.items]
    table = ledger_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], ids))
    note_more(invocation.output, page.next_cursor)


@command(
    "freeze",
    Example("until somebody ends it", 'deltareg channel freeze me/chat prod -m "release week"'),
    Example("until a time", 'deltareg channel freeze me/chat prod --until 2026-12-27T08:00:00Z -m "holidays"'),
    see_also=("channel unfreeze", "channel show", "promote", "rollback"),
)
@line_argument
@channel_argument
@required_reason_option()
@option("--until", metavar="TIME", help="When it ends by itself: RFC 3339, or a date (UTC).")
@click.pass_obj
def freeze(invocation: Invocation, line: str, name: str | None, *, reason: str, until: str | None) -> None:
    """Let nothing move a channel, with a reason.

    While it is frozen, promote and rollback are refused with 13 and say by whom, why and until
    when. It keeps serving its version. After --until it moves as before, and nobody has to do
    anything; without it, deltareg channel unfreeze ends it.

    A freeze is an entry of the ledger. Freezing a frozen channel again gives it another reason and
    another end. It takes the same right as promoting.
    """
    line, name = _place(line, name)
    move = invocation.client.channels.freeze(line, name, reason=reason, until=until)
    warn_of_time(invocation, until)
    blocks = move_blocks(move, line)
    invocation.output.show(CommandResult(fields(move, *MOVE_FIELDS), blocks, [f"{line}@{name}"], move_details(move)))


@command(
    "unfreeze",
    Example("it may be moved again", 'deltareg channel unfreeze me/chat prod -m "we are done"'),
    see_also=("channel freeze", "channel history"),
)
@line_argument
@channel_argument
@required_reason_option()
@click.pass_obj
def unfreeze(invocation: Invocation, line: str, name: str | None, *, reason: str) -> None:
    """Let a frozen channel be moved again, with a reason.

    Whoever may promote may do this, and the ledger keeps who did. A channel that is not frozen is
    refused with 5.
    """
    line, name = _place(line, name)
    move = invocation.client.channels.unfreeze(line, name, reason=reason)
    blocks = move_blocks(move, line)
    invocation.output.show(CommandResult(fields(move, *MOVE_FIELDS), blocks, [f"{line}@{name}"], move_details(move)))


@command(
    "review",
    Example("it was the right thing to do", 'deltareg channel review me/chat prod 16 -m "agreed: outage 4711"'),
    see_also=("channel show", "rollback", "promote"),
)
@click.argument("line", metavar="NS/NAME", help="The line.")
@click.argument("name", metavar="CHANNEL", type=ChannelParam(), help="The channel.")
@click.argument("revision", metavar="#REV", type=RevisionNumber(), help="The move, 16 or #16.")
@option("-m", "--message", "message", required=True, metavar="TEXT", help="What you found.")
@click.pass_obj
def review(invocation: Invocation, line: str, name: str, revision: int, *, message: str) -> None:
    """Close a move that broke the glass, as somebody else.

    It is due within a day; channel show and channel ls say so until it is done. It takes a token
    that allows approve, and the ledger keeps who has looked and what they found.
    """
    reviewed = invocation.client.channels.review(line, name, revision, message=message)
    blocks = reviewed_blocks(reviewed, line, name, now=invocation.now)
    invocation.output.show(CommandResult(fields(reviewed), blocks, [f"{line}@{name}#{revision}"]))


@command(
    "clear",
    Example("let v3 back on prod", 'deltareg channel clear me/chat prod v3 -m "the probe was wrong"'),
    see_also=("channel show", "rollback"),
)
@click.argument("line", metavar="NS/NAME", help="The line.")
@click.argument("name", metavar="CHANNEL", type=ChannelParam(), help="The channel.")
@click.argument("version", metavar="vN", type=VersionNumber(), help="The version.")
@required_reason_option()
@click.pass_obj
def clear(invocation: Invocation, line: str, name: str, version: int, *, reason: str) -> None:
    """End the quarantine of a version on a channel, with a reason.

    A version that a channel was rolled back from is quarantined there; after this the gate judges
    it like any other.
    """
    cleared = invocation.client.channels.clear_quarantine(line, name, version, reason=reason)
    blocks = channel_answer(cleared, line, now=invocation.now)
    invocation.output.show(CommandResult(fields(cleared), blocks, [f"{line}:v{version}"]))


def _place(line: str, name: str | None) -> tuple[str, str]:
    """Parse `ns/name channel` or `ns/name@channel`."""
    ref = Ref.parse(line)
    if (ref.channel is None) == (name is None):
        raise InvalidInput("name one channel", fix="write `me/chat prod` or `me/chat@prod`; see channel ls")
    return str(ref.line), name or str(ref.channel)


for _command in (ls, create, show, history, freeze, unfreeze, review, clear, rm, export, policy):
    channel.add_command(_command)
