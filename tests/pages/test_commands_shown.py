"""Every command that a page shows is one that the command line takes as it stands."""

import re
import shlex
from pathlib import Path

import click
import pytest

import deltareg.pages
from deltareg_cli.frame import cli

_TEMPLATES = Path(deltareg.pages.__file__).parent / "templates"
_CALL = re.compile(r'"(deltareg [^()]*?)\)')
_IN_TEXT = re.compile(r'(?:<code>|data-copy=")(deltareg [^<"]*)')
_FOR = {
    "ref": "a/b:v1",
    "line": "a/b",
    "number": "1",
    "version": "1",
    "channel": "prod",
    "id": "x",
    "good": "1",
    "bad": "3",
    "n": "2",
    "next": "2",
    "name": "base",
    "code": "corrupt",
    "revision": "3",
    "check": "effect",
    "namespace": "team",
    "a": "1",
    "b": "2",
}


def shown():
    """Give each command with what its expressions may be; `DIR` and `NAME` stand for themselves."""
    for path in sorted(_TEMPLATES.glob("*.jinja")):
        text = path.read_text()
        for found in _CALL.finditer(text):
            parts = [part.strip() for part in ('"' + found[1]).split("~")]
            words = [part.strip('"') if part[:1] == '"' else _value(part) for part in parts]
            yield path.name, "".join(words)
        for found in _IN_TEXT.finditer(text):
            if "{{" not in found[1]:  # spoken of by its name alone
                continue
            filled = re.sub(r"{{\s*(.*?)\s*}}", lambda one: _value(one[1]), found[1])
            yield path.name, filled


def _value(expression):
    return _FOR[expression.split("|")[0].strip().rpartition(".")[2]]


SHOWN = sorted({(name, text) for name, text in shown() if text.split()[1:]})


def test_many_are_found():
    assert len(SHOWN) > 20


@pytest.mark.parametrize(("template", "text"), SHOWN, ids=lambda value: str(value)[:60])
def test_it_is_taken_as_it_stands(template, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("adapter", "llama", "FILE"):
        (tmp_path / name).mkdir()
    _, *words = shlex.split(text)
    command: click.Command = cli
    context = click.Context(cli, info_name="deltareg")
    while isinstance(command, click.Group) and words:
        called, found, words = command.resolve_command(context, words)
        assert found is not None, text
        command, context = found, click.Context(found, info_name=called, parent=context)

    try:
        command.make_context(command.name, list(words), parent=context.parent)
    except click.exceptions.NoArgsIsHelpError:
        pass
    except click.UsageError as error:
        pytest.fail(f"{text}: {error.format_message()}")
