"""The how-to from a script to a served, rolled-back adapter: run word for word, on a small base."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.e2e.demo import Story, registry
from tests.fixtures.registries import SAMPLES

pytest.importorskip("transformers", reason="needs the verify extra")
pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(900)]
HOWTO = REPOSITORY / "docs" / "howto" / "train-and-serve.md"
COMMANDS = re.findall(r"^```sh\n(.*?)^```", HOWTO.read_text(), re.DOTALL | re.MULTILINE)
SCRIPTS = re.findall(r"^```python\n(.*?)^```", HOWTO.read_text(), re.DOTALL | re.MULTILINE)


def test_every_command_does_what_the_page_says(tmp_path):
    shutil.copytree(SAMPLES / "bases" / "tinyllama", tmp_path / "base")
    for name, text in zip(("train.py", "ask.py"), SCRIPTS, strict=True):
        (tmp_path / name).write_text(text)
    story = Story(tmp_path)
    said = []

    with registry(tmp_path, story):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        for command in (line for block in COMMANDS for line in block.splitlines()):
            done = subprocess.run(
                ["bash", "-c", command],
                env={**story.environ, "PATH": path},
                cwd=tmp_path,
                text=True,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr[-3000:]}"
            said.append((command, done.stdout))

    answers = [text for command, text in said if command == "python ask.py"]
    pushed = [text.splitlines()[-1] for command, text in said if "train.py" in command]
    assert pushed == ["pushed me/chat:v1 me/chat:v2", "pushed me/chat:v3 me/chat:v4"]
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert "me--chat--v2" in (tmp_path / "served" / "current").readlink().name
    history = said[-1][1].splitlines()
    assert [line.split()[1] for line in history[1:]] == ["rollback", "promote", "promote"]
