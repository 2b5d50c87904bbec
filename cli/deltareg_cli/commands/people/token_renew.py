"""`deltareg token renew`: a new secret in the place of the token in use."""

from typing import TYPE_CHECKING

import click

from deltareg.host.token_files import read_token, write_token
from deltareg.words import SCOPES
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, LinesBlock, TitleBlock
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.wording import moment
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import Scope


@command(
    "renew",
    Example("the token kept on this machine", "deltareg token renew"),
    Example("a job's, into its secret store", "deltareg token renew --quiet | gh secret set DELTAREG_TOKEN"),
    see_also=("auth status", "token create", "token revoke"),
)
@option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What the new one allows, if less; may be repeated.",
)
@click.pass_obj
def renew(invocation: Invocation, *, scopes: tuple["Scope", ...]) -> None:
    """Replace the token in use by a new one that lives as long again.

    It allows the same. The old one works for another hour, so that jobs which run finish with it.

    A token that auth login keeps on this machine is replaced there. Any other is shown, this once.
    """
    server, old = invocation.config.server, invocation.config.token
    is_kept = old is not None and read_token(server) == old
    new = invocation.client.tokens.renew(scopes or None)
    expires = moment(new.expires_at, now=invocation.now) if new.expires_at else "never"
    facts = FactsBlock([("for", new.principal), ("may", ", ".join(new.scopes)), ("expires", expires)])
    if is_kept:
        path = write_token(server, new.token)
        blocks: list[Block] = [TitleBlock(f"token {new.id}", "renewed"), facts, FactsBlock([("kept in", str(path))])]
        invocation.output.show(CommandResult(fields(new, "id"), blocks, [str(new.id)]))
        return
    blocks = [LinesBlock([Cell(new.token, "strong")]), facts]
    invocation.output.show(CommandResult(fields(new, "id", "token"), blocks, [new.token]))
    invocation.output.note("it is not shown again; put it where the old one is, within the hour")
