"""The pages of `--help` teach, fit on a narrow terminal, and name only what exists."""

import re
from pathlib import Path

import click
import pytest

import deltareg_cli.commands
from deltareg_cli.frame import cli
from deltareg_cli.tree.command_tree import sections
from deltareg_cli.tree.front_page import EVERYDAY, SECTIONS
from deltareg_cli.tree.help_page import summary

TOPICS = ("all", "exit-codes", "options", "environment", "references", "output")


def walk(command, context):
    """Give every command below one, with its context."""
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            yield from walk(child, click.Context(child, info_name=name, parent=context))


ROOT = click.Context(cli, info_name="deltareg", terminal_width=80)
PAGES = [(context.command_path, context, command) for context, command in walk(cli, ROOT)]
LEAVES = [(path, command) for path, _, command in PAGES if not isinstance(command, click.Group)]
EXISTING = {path.removeprefix("deltareg ") for path, _, _ in PAGES}


def by_path(pages):
    return pytest.mark.parametrize("page", pages, ids=[page[0] for page in pages])


@by_path(PAGES)
def test_a_page_fits_on_eighty_columns(page):
    _, context, command = page

    lines = click.unstyle(command.get_help(context)).splitlines()

    assert [line for line in lines if len(line) > 80 and not line.startswith("  $ ")] == []


@by_path(PAGES)
def test_a_summary_fits_in_a_list(page):
    assert len(summary(page[2])) <= 62


@by_path(PAGES[1:])
def test_a_page_has_an_example_of_itself(page):
    path, context, command = page

    lines = [example.line for example in command.teaching.examples]

    assert any(path in line for line in lines)
    assert all(line in click.unstyle(command.get_help(context)) for line in lines)


@by_path(PAGES[1:])
def test_what_a_page_sends_to_exists(page):
    for name in page[2].teaching.see_also:
        topic = name.removeprefix("help ")
        assert name in EXISTING or topic in TOPICS


def test_the_first_page_fits_on_a_screen(shell):
    page = shell().out

    assert page == shell("help").out == shell("--help").out
    assert len(page.splitlines()) <= 24
    assert max(map(len, page.splitlines())) <= 80
    for name, text in EVERYDAY.items():
        command = cli.get_command(ROOT, name)
        assert command is not None, name
        assert text == summary(command)
        assert re.search(rf"^  {name} +{re.escape(text)}$", page, re.MULTILINE), name
    assert "deltareg help all" in page


def test_every_command_is_listed_by_its_purpose(shell):
    page = shell("help", "all").out

    assert list(sections()) == list(SECTIONS.values())
    for title, names in sections().items():
        assert f"\n{title}\n" in page
        for name in names:
            assert re.search(rf"^  {name} +\w", page, re.MULTILINE), name


def test_every_file_of_commands_is_listed():
    """A file holds a command of the first page, or commands of one of its groups."""
    folder = Path(deltareg_cli.commands.__file__).parent
    files = {path.stem for path in folder.glob("*/*.py")} - {"__init__"}

    called = {page[2].callback.__module__.rpartition(".")[2] for page in PAGES if page[2].callback}

    assert files <= called
    listed = {name for names in sections().values() for name in names}
    assert listed <= files


@pytest.mark.parametrize("topic", TOPICS)
def test_help_shows_topics_in_both_ways(shell, topic):
    asked, flagged = shell("help", topic), shell("--help", topic)

    assert asked.status == flagged.status == 0
    assert asked.out == flagged.out != ""


def test_help_shows_the_page_of_a_command(shell):
    assert shell("help", "channel", "show").out == shell("channel", "show", "--help").out


def test_help_on_nothing_known_names_the_topics(shell):
    ended = shell("help", "nonsense")

    assert ended.status == 3
    assert "exit-codes" in ended.err


def test_a_group_without_a_command_shows_its_page_and_is_an_error(shell):
    ended = shell("channel")

    assert ended.status == 2
    assert ended.out == ""
    assert "Commands" in ended.err


@by_path(LEAVES)
def test_global_options_stand_on_either_side_of_the_name(page):
    _, command = page

    options = {name for param in command.params for name in param.opts}

    assert {"--json", "-o", "--output", "-q", "--no-color", "--server", "-y"} <= options


def test_pages_have_colours_on_a_terminal_only():
    page = cli.get_help(ROOT)

    assert "\x1b[" in page
    assert "\x1b[" not in click.unstyle(page)
