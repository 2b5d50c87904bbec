"""Every code is explained well, and every command that anything tells people to type exists."""

import ast
import re

import click
import pytest

from deltareg.errors import PROBLEM_CODES, error_classes
from deltareg_cli.commands.start.explain import codes, page, status_of_code
from deltareg_cli.exits import MEANINGS
from deltareg_cli.frame import cli
from tests.architecture.tree import PACKAGES

SECTIONS = ["What it looks like", "What to do"]
PROMISED = {"convert"}  # refusals name it; it comes with the kinds that it converts
MENTION = re.compile(r"(?:^|`|: |^  \$ )deltareg ([a-z]+(?: [a-z]+(?:-[a-z]+)*)?)", re.MULTILINE)


@pytest.mark.parametrize("code", codes())
def test_a_page_says_what_why_and_what_to_do(code):
    lines = page(code).splitlines()
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]

    assert lines[0].startswith(f"# {code}: ")
    assert len(lines[0]) <= 85
    assert [headings[0], headings[2]] == SECTIONS
    assert headings[1].startswith("Why ")
    assert 15 <= len(lines) <= 32
    assert any(line.startswith("    ") for line in lines)
    assert any(line.startswith("- ") for line in lines)


@pytest.mark.parametrize("code", codes())
def test_a_page_fits_on_a_narrow_terminal(code):
    prose = [line for line in page(code).splitlines() if not line.startswith(("    ", "#"))]

    assert [line for line in prose if len(line) > 80] == []


@pytest.mark.parametrize("code", ["no_effect", "base_mismatch", "unavailable"])
def test_explain_shows_the_page(shell, code):
    ended = shell("explain", code)

    assert ended.status == 0
    assert ended.out == page(code)


def test_explain_lists_all_codes(shell):
    listed = {item["code"] for item in shell("explain", "--json").json["items"]}

    assert listed == PROBLEM_CODES | set(error_classes())


def test_explain_knows_exit_codes_and_single_ones(shell):
    table = shell("explain", "exit-codes").out

    assert all(f"{int(row.status)}  {row.text}" in table for row in MEANINGS)
    assert "the base is not the one" in shell("explain", "7").out
    assert shell("explain", "99").status == 3


def test_explain_guesses_what_was_meant(shell):
    ended = shell("explain", "no_efect")

    assert ended.status == 3
    assert "deltareg explain no_effect" in ended.err


@pytest.mark.parametrize(
    ("code", "status"),
    [("shape", 2), ("digest", 6), ("base_mismatch", 7), ("no_effect", 8), ("config_changed", 0), ("blocked", 13)],
)
def test_a_code_knows_its_exit_status(code, status):
    assert status_of_code(code) == status


def exists(words):
    """Tell whether words begin with a command; what follows a command is its arguments."""
    node: click.Command | None = cli
    context = click.Context(cli, info_name="deltareg")
    for word in words:
        if not isinstance(node, click.Group):
            return True
        node = node.get_command(context, word)
        if node is None:
            return False
    return True


def texts():
    """Give every text that people may read, with its file: strings of the code, and pages."""
    for folder in PACKAGES.values():
        for path in sorted(folder.rglob("*.md")):
            yield path.name, path.read_text()
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path.name, node.value


def test_every_command_that_is_mentioned_exists():
    """A command is mentioned at the start of a text, in backticks, or after a colon."""
    mentioned = {(name, found[1]) for name, text in texts() for found in MENTION.finditer(text)}

    wrong = {m for m in mentioned if m[1].split()[0] not in PROMISED and not exists(m[1].split())}

    assert len(mentioned) > 100
    assert wrong == set()
