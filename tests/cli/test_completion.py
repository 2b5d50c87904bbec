"""Completion scripts are printed for four shells, and offer commands, options and codes."""

import os
import shutil
import subprocess
import sys

import pytest

from deltareg_cli.commands.setup.completion import SHELLS, VARIABLE

pytestmark = pytest.mark.usefixtures("forked")


def complete(line, *, index):
    """Ask for completions in the way that the bash script does."""
    environ = {**os.environ, VARIABLE: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(index)}
    ended = subprocess.run(
        [sys.executable, "-m", "deltareg_cli"], env=environ, capture_output=True, text=True, check=True
    )
    return [entry.partition(",")[2] for entry in ended.stdout.split()]


@pytest.mark.parametrize("name", SHELLS)
def test_a_script_is_printed(shell, name):
    ended = shell("completion", name)

    assert ended.status == 0
    assert "deltareg" in ended.out
    assert VARIABLE in ended.out


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_shell_can_read_its_script(shell, name):
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"needs {name}")
    script = shell("completion", name).out

    ended = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr


def test_an_unknown_shell_is_refused(shell):
    assert shell("completion", "tcsh").status == 2


def test_commands_are_offered():
    assert {"push", "pull", "promote"} <= set(complete("deltareg p", index=1))


def test_options_are_offered():
    assert {"--base", "--json"} <= set(complete("deltareg push --", index=2))


def test_channels_and_codes_are_offered():
    assert complete("deltareg promote x --channel p", index=4) == ["prod"]
    assert "no_effect" in complete("deltareg explain no_", index=2)
