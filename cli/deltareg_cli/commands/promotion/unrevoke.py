"""`deltareg unrevoke`: end the revocation of a version."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import required_reason_option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.versions import revocation_blocks

ORDER = 110


@command(
    "unrevoke",
    Example("it may be promoted again", 'deltareg unrevoke me/chat:v3 -m "the data is cleared"'),
    see_also=("revoke", "gate", "log"),
)
@click.argument("ref", help="The version, named exactly: ns/name:v3.")
@required_reason_option()
@click.pass_obj
def unrevoke(invocation: Invocation, ref: str, *, reason: str) -> None:
    """End the revocation of a version, with a reason.

    After this the gate judges it like any other; verdicts and quarantines are what they were. The
    log keeps both reasons. A version that is not revoked is left as it is.
    """
    version = invocation.client.versions.unrevoke(ref, reason=reason)
    invocation.output.show(CommandResult(as_it_is(version), revocation_blocks(version), [version.ref]))
