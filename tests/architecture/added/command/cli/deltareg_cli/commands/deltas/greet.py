"""`deltareg greet`: say hello to a delta."""

import click

from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 99


@command("greet", Example("a delta of one's own", "deltareg greet me/chat"))
@click.argument("line", metavar="NS/NAME", help="The delta.")
def greet(line: str) -> None:
    """Say hello to a delta."""
    raise click.UsageError(f"hello, {line}")
