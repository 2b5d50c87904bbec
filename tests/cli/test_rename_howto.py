"""The console blocks of docs/howto/rename-and-retire.md, run as they are written."""

import re
import shlex

from tests.cli.steps import push_base
from tests.conftest import REPOSITORY

HOWTO = REPOSITORY / "docs" / "howto" / "rename-and-retire.md"


def steps():
    """Yield each command line of the page with the output below it."""
    for block in re.findall(r"```console\n(.*?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL):
        for step in block.split("$ ")[1:]:
            line, _, said = step.partition("\n")
            yield line, said.strip()


def test_every_line_says_what_the_page_says(user):
    push_base(user)

    for line, said in steps():
        command, _, filtered = line.partition(" | grep -c ")
        words = [str(REPOSITORY / word) if word.startswith("tests/") else word for word in shlex.split(command)]
        ended = user(*words[1:])
        assert ended.status == 0, (line, ended.err)
        out = ended.out.strip()
        if filtered:
            out = str(len([row for row in out.splitlines() if filtered in row]))
        assert re.sub(" +", " ", out) == re.sub(" +", " ", said), line
