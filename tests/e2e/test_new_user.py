"""A new user who has only the README: every command and script of it, from the first to the last.

By the command line, from Python and by `push_to_hub`: train, push, verify, promote, serve, roll back. Nothing
is typed that does not stand in the README or was printed by a command before.
"""

import re
import shutil
import time

import pytest

from tests.docs.blocks import read_blocks
from tests.docs.desks import real_desk
from tests.docs.test_howtos import not_printed
from tests.e2e.tour import README
from tests.fixtures.registries import SAMPLES

pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[all]'")

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(900)]
# What is done on each way, and the line that shows it.
WAYS = {
    "the command line": ("push .*my-lora", "verify", "promote", "pull", "rollback"),
    "Python": (r"client\.push", r"client\.promote", r"client\.pull", r"client\.rollback"),
    "push_to_hub": (
        "python train.py tinyllama me/hub",
        "verify me/hub",
        "promote me/hub",
        "hf download .* prod",
        "rollback me/hub",
    ),
}


@pytest.fixture
def desk(tmp_path, nursery):
    """Give a machine with a checkout of the repository and nothing else."""
    with real_desk(tmp_path) as laid, nursery.forking():
        shutil.copytree(SAMPLES, laid.folder / "tests" / "samples")
        del laid.terminal.environ["HF_HUB_OFFLINE"]  # nobody has that set
        laid.terminal.addresses["/tmp/"] = f"{laid.folder}/"
        yield laid


def test_all_that_the_readme_says_works(desk):
    failures, commands, started = [], [], time.monotonic()

    for block in read_blocks(README):
        if block.file is not None:
            (desk.folder / block.file).write_text(desk.terminal.fill(block.body))
        if not block.is_console or block.obstacle is not None:
            continue
        for command in block.commands():
            commands.append(command.text)
            status, output = desk.terminal.type(command)
            output = output.replace(str(desk.folder), "/tmp")
            missing = not_printed(command.output or "", re.sub(r"^run .*\n", "", output, flags=re.MULTILINE))
            if status not in command.statuses or missing:
                failures.append(f"README:{command.line}\n$ {command.text}\n{output}(exit status {status}) {missing}")

    print(f"\n{len(commands)} commands, {(time.monotonic() - started) / 60:.1f} minutes")
    assert not failures, "\n\n".join(failures)
    served = {line: desk.client.show(f"{line}@prod").ref for line in ("team/code", "me/mine", "me/python", "me/hub")}
    assert served == {
        "team/code": "team/code:v1",
        "me/mine": "me/mine:v1",
        "me/python": "me/python:v1",
        "me/hub": "me/hub:v1",
    }


def test_the_readme_shows_each_way_to_its_end():
    text = README.read_text("utf-8")

    missing = {way: [step for step in steps if not re.search(step, text)] for way, steps in WAYS.items()}

    assert not any(missing.values()), missing
