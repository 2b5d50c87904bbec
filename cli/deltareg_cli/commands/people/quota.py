"""`deltareg quota`: what namespaces and people may have, and what they use."""

from collections.abc import Sequence

import click

from deltareg.client.quantities import parse_size
from deltareg.errors import InvalidInput
from deltareg.words import QUOTA_RESOURCES, QuotaResource
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.quotas import quota_blocks, quota_table

ORDER = 100
_NONE = "none"


@group(
    "quota",
    Example("what is used of it", "deltareg quota ls team"),
    Example("200 GB for team", "deltareg quota set team bytes=200GB"),
    see_also=("stats storage", "gc", "namespace"),
)
def quota() -> None:
    """Limit what namespaces and people may have.

    bytes are those in the store: packs, what is being sent, and what waits for collection. versions
    and lines are those that are not deleted, uploads the open ones, drafts those of hub clients.
    minutes are those that workers verify, compare and answer in a month (UTC). A person's scripts
    count with the person.

    What does not fit is refused with exit status 12, before its bytes are sent where their number is
    known. From 80 % on a push says so, and webhooks hear quota.near. Rollbacks need no room.
    """


@command(
    "ls",
    Example("all that you see", "deltareg quota ls"),
    Example("one, and what would free room", "deltareg quota ls team"),
    Example("a person's", "deltareg quota ls @ana"),
    see_also=("quota set", "stats storage", "gc plan"),
)
@click.argument("name", metavar="[NS|@PERSON]", required=False, help="A namespace, or @ and a person or a script.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, name: str | None, *, limit: int, cursor: str | None) -> None:
    """Show what is used of quotas.

    * stands for each namespace that has no limits of its own, @* for each such person.
    """
    quotas = invocation.client.quotas
    if name is not None:
        found = quotas.show(_name(name))
        invocation.output.show(CommandResult(fields(found, "name"), quota_blocks(found), [found.name]))
        return
    page = quotas.list(cursor=cursor, limit=limit)
    names = [item.name for item in page.items]
    invocation.output.show(CommandResult(page_fields(page), [quota_table(page.items)], names))
    note_more(invocation.output, page.next_cursor)


@command(
    "set",
    Example("for team", "deltareg quota set team bytes=200GB versions=5000"),
    Example("for each namespace that has none of its own", "deltareg quota set bytes=50GB minutes=600"),
    Example("for each person", "deltareg quota set @ uploads=20"),
    Example("no limit on the bytes of ana", "deltareg quota set @ana bytes=none"),
    see_also=("quota ls",),
)
@click.argument("words", metavar="[NS|@PERSON] RESOURCE=LIMIT...", nargs=-1, required=True, help="Whose, and how much.")
@click.pass_obj
def set_(invocation: Invocation, words: Sequence[str]) -> None:
    """Set limits, as an admin.

    Those that you do not name stay as they are. none takes a limit away, although there is one for
    all; default takes its own limit away, so that the one for all applies. What is over a new limit
    stays, and nothing is added to it.
    """
    name, pairs = (None, words) if "=" in words[0] else (words[0], words[1:])
    name = None if name is None else _name(name)
    asked = dict(map(_pair, pairs))
    if not asked:
        raise InvalidInput("no limit is named", fix="deltareg quota set team bytes=200GB versions=5000")
    limits = dict(invocation.client.quotas.show(name).limits)
    for resource, most in asked.items():
        limits.pop(resource, None)
        if most != "default":
            limits[resource] = _most(resource, most)
    found = invocation.client.quotas.set(name, limits)
    invocation.output.show(CommandResult(fields(found, "name"), quota_blocks(found), [found.name]))


def _name(name: str) -> str | None:
    return None if name == "*" else "@" if name == "@*" else name


def _pair(word: str) -> tuple[QuotaResource, str]:
    name, equals, most = word.partition("=")
    for resource in QUOTA_RESOURCES:
        if equals and name == resource:
            return resource, most
    raise InvalidInput(
        f"not a limit: {word[:60]!r}", fix=f"write RESOURCE=LIMIT, with one of {', '.join(QUOTA_RESOURCES)}"
    )


def _most(resource: QuotaResource, text: str) -> int | None:
    if text == _NONE:
        return None
    if resource == "bytes":
        return parse_size(text)
    if not text.isascii() or not text.isdecimal():
        raise InvalidInput(
            f"not a number: {text[:60]!r}", fix=f"write {resource}=50, {resource}=none or {resource}=default"
        )
    return int(text)


for _command in (ls, set_):
    quota.add_command(_command)
