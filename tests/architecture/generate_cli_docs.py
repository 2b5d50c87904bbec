"""Write `docs/cli.md` from the commands themselves; `make docs` runs this with `--write`."""

from collections.abc import Iterator

import click

from deltareg_cli.exits import MEANINGS
from tests.architecture.generated import compare_or_write
from tests.architecture.tree import REPOSITORY

PAGE = REPOSITORY / "docs" / "cli.md"
INTRODUCTION = """\
# The command line

What `--help` says, on one page. It is written from the commands by `make docs`; a test compares
the two, so edit the commands and not this page.
"""


def root() -> click.Group:
    """Load the root of the command tree."""
    from deltareg_cli.frame import cli

    return cli


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Walk the command tree, the root first, each group before its commands."""
    top = root()
    with click.Context(top, info_name="deltareg", terminal_width=100, max_content_width=100) as context:
        yield from below(context, top)


def below(context: click.Context, command: click.Command) -> Iterator[tuple[click.Context, click.Command]]:
    """Walk one command and what stands below it; hidden commands are left out."""
    yield context, command
    if not isinstance(command, click.Group):
        return
    for name in sorted(command.list_commands(context)):
        child = command.get_command(context, name)
        if child is None or child.hidden:
            continue
        with click.Context(child, info_name=name, parent=context) as inside:
            yield from below(inside, child)


def generate() -> str:
    """Give the text of the page."""
    sections = [
        f"## {context.command_path}\n\n```text\n{plain(command.get_help(context))}\n```\n"
        for context, command in commands()
    ]
    return "\n".join([INTRODUCTION, *sections, exit_statuses()])


def exit_statuses() -> str:
    """Write the table of `deltareg help exit-codes`."""
    rows = [f"| {int(row.status)} | {row.text} | {row.retry} |" for row in MEANINGS]
    head = ["## Exit status", "", "| status | meaning | try again? |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def plain(text: str) -> str:
    """Take colours and spaces at line ends out of a help text."""
    return "\n".join(line.rstrip() for line in click.unstyle(text).splitlines())


if __name__ == "__main__":
    compare_or_write(PAGE, generate)
