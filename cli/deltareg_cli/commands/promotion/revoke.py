"""`deltareg revoke`: withdraw a version."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, required_reason_option
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.terminal.documents import as_it_is
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.versions import revocation_blocks

ORDER = 100


@command(
    "revoke",
    Example("no channel takes it any more", 'deltareg revoke me/chat:v3 -m "wrong data"'),
    Example("although prod serves it", 'deltareg revoke me/chat:v3 --even-if-served -m "licence withdrawn"'),
    see_also=("unrevoke", "rollback", "rm", "audit"),
)
@click.argument("ref", help="The version, named exactly: ns/name:v3, ns/name@prod.")
@required_reason_option()
@option("--even-if-served", is_flag=True, help="Revoke it although a channel serves it.")
@dry_run("Look whether it may be revoked, and revoke nothing.")
@click.pass_obj
def revoke(invocation: Invocation, ref: str, *, reason: str, even_if_served: bool) -> None:
    """Withdraw a version, with a reason.

    From then on it is not promoted to any channel, is no target of a rollback and the base of
    nothing new; the same holds for versions that stand on it. Whoever tries learns by whom, when
    and why, and the command ends with 13. Nothing is deleted: who pulls it gets its bytes, and a
    warning.

    A version that a channel serves is refused with 5: roll that channel back first. Where there
    is nothing to go back to, --even-if-served revokes it all the same. The channel goes on serving
    it, shows that it is revoked, and everybody who pulls is warned.

    Revoking again changes nothing; the first reason stays until deltareg unrevoke.
    """
    is_dry = invocation.globals.dry_run
    info = invocation.client.versions.revoke(ref, reason=reason, even_if_served=even_if_served, dry_run=is_dry)
    document = {**as_it_is(info), "dry_run": is_dry}
    blocks = revocation_blocks(info)
    if is_dry:
        blocks = [LinesBlock([[Cell(info.ref, "name"), "would be revoked"]])]
    invocation.output.show(CommandResult(document, blocks, [info.ref]))
