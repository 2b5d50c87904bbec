"""`deltareg edit`: a semver or another message for a version that is there."""

import click

from deltareg.errors import InvalidInput
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import message_option, option
from deltareg_cli.terminal.blocks import CommandResult, FactsBlock, TitleBlock
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 87


@command(
    "edit",
    Example("a semver", "deltareg edit me/chat:v3 --semver 1.4.0"),
    Example("another message", 'deltareg edit me/chat:v3 -m "trained on the cleaned set"'),
    see_also=("label", "push", "show"),
)
@click.argument("ref", help="The version; a bare NS/NAME is none.")
@option("--semver", metavar="1.4.0", help="Its semver; it is given once, and never moved.")
@message_option()
@click.pass_obj
def edit(invocation: Invocation, ref: str, *, semver: str | None, message: str) -> None:
    """Give a version a semver, or another message.

    Its bytes, its number and its verdicts stay as they are. A semver belongs to one version of the
    line for good: it is refused where another version has it, deleted or not. The audit trail has
    who changed what. Labels have a command of their own, deltareg label.
    """
    if semver is None and not message:
        raise InvalidInput("nothing to change is named", fix=f"deltareg edit {ref} --semver 1.4.0, or -m TEXT")
    version = invocation.client.versions.edit(ref, semver=semver, message=message or None)
    facts = FactsBlock([("semver", version.semver or ""), ("message", version.message)])
    document = as_it_is(version, "ref", "semver", "message")
    invocation.output.show(CommandResult(document, [TitleBlock(version.ref), facts], [version.ref]))
