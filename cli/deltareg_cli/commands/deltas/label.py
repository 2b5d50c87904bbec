"""`deltareg label`: words of one's own on a version."""

from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import parse_labels
from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, TitleBlock
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.versions import label_words

if TYPE_CHECKING:
    from deltareg.wire import VersionInfo

ORDER = 86


@group(
    "label",
    Example("say something of a version", "deltareg label add me/chat:v3 tested=yes reviewed"),
    Example("find it by that", "deltareg search --label tested=yes"),
    see_also=("push", "ls", "search"),
    of_reference="add",
)
def label() -> None:
    """Put labels on versions.

    A label is KEY=VALUE, or a word alone. Labels say nothing of what a version is, and move
    nothing: what is served is said by channels, and what was found by verdicts. A push may bring
    them, and whoever may push to the line may change them; the audit trail has who did.
    """


ref_argument = click.argument("ref", help="The version; a bare NS/NAME is none.")


@command(
    "add",
    Example("two at once", "deltareg label add me/chat:v3 tested=yes reviewed"),
    Example("on what prod serves", "deltareg label add me/chat@prod season=winter"),
    see_also=("label rm", "show"),
)
@ref_argument
@click.argument(
    "labels",
    metavar="KEY[=VALUE]...",
    nargs=-1,
    required=True,
    callback=parse_labels,
    help="The labels; one that is there gets the new value.",
)
@click.pass_obj
def add(invocation: Invocation, ref: str, labels: dict[str, str]) -> None:
    """Put labels on a version.

    One that is there gets the new value.
    """
    invocation.output.show(_answer(invocation.client.versions.label(ref, labels)))


@command("rm", Example("one", "deltareg label rm me/chat:v3 reviewed"), see_also=("label add", "show"))
@ref_argument
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, help="Their keys.")
@click.pass_obj
def rm(invocation: Invocation, ref: str, keys: tuple[str, ...]) -> None:
    """Take labels off a version.

    One that it does not have is no error.
    """
    with_value = next((key for key in keys if "=" in key), None)
    if with_value is not None:
        key = with_value.partition("=")[0]
        raise InvalidInput(f"{with_value!r} is no key", fix=f"deltareg label rm {ref} {key}")
    invocation.output.show(_answer(invocation.client.versions.label(ref, remove=keys)))


def _answer(version: "VersionInfo") -> CommandResult:
    words = label_words(version.labels)
    blocks: list[Block] = [TitleBlock(version.ref), FactsBlock([("labels", words or Cell("none", "dim"))])]
    return CommandResult(as_it_is(version, "ref", "labels"), blocks, [version.ref])


for _command in (add, rm):
    label.add_command(_command)
