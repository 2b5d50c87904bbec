"""`deltareg version`: what is installed here."""

import platform
import sys

import click

from deltareg import __version__
from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.launch import NEEDS, missing_of
from deltareg_cli.terminal.blocks import CommandResult, FactsBlock, TitleBlock
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 60


@command("version", Example("for a report", "deltareg version --json"), see_also=("doctor",))
@click.pass_obj
def version(invocation: Invocation) -> None:
    """Show what is installed here; no server is asked."""
    parts = [extra for extra in NEEDS if not missing_of(extra)]
    document: dict[str, object] = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "parts": ["client", *parts],
        "executable": sys.executable,
    }
    facts = FactsBlock(
        [
            ("parts", ", ".join(["client", *parts])),
            ("python", f"{platform.python_version()} ({sys.executable})"),
            ("platform", platform.platform()),
        ]
    )
    invocation.output.show(CommandResult(document, [TitleBlock(f"deltareg {__version__}"), facts], [__version__]))
