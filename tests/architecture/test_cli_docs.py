"""Every command and option says what it is for, and the page of the command line is current."""

import click
import pytest

from tests.architecture.generate_cli_docs import PAGE, commands, generate
from tests.architecture.generated import is_current

COMMANDS = [(context.command_path, command) for context, command in commands()]


@pytest.mark.parametrize("command", [c for _, c in COMMANDS], ids=[path for path, _ in COMMANDS])
def test_a_command_has_help(command):
    summary = command.get_short_help_str(limit=200)

    assert summary
    assert not summary.endswith("...")


@pytest.mark.parametrize("command", [c for _, c in COMMANDS], ids=[path for path, _ in COMMANDS])
def test_every_option_has_help(command):
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]

    assert [option.name for option in options if not option.help] == []


def test_the_page_shows_what_help_says():
    assert is_current(PAGE, generate()), "docs/cli.md is behind the commands; run: make docs"
