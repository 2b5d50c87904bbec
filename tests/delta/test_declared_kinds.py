"""A delta whose config names its kind is read without the other fifty kinds, and as they would have it."""

import subprocess
import sys

import pytest

from deltareg.delta.accounting import recognise
from deltareg.delta.kinds import all_kinds
from tests import corpus
from tests.fixtures.registries import SAMPLES
from tests.folders import open_folder

ACCEPTED = [delta for delta in corpus.manifest()["deltas"] if delta["expect_lint"] == "accept"]
_RECOGNISING = """
import sys
from pathlib import Path
from tests.folders import open_base, open_folder
from deltareg.delta.accounting import recognise
view, _ = open_base(Path(sys.argv[2]))
kind, _ = recognise(open_folder(Path(sys.argv[1])).files, view)
print(kind.layout, *(name for name in sys.modules if name.startswith("deltareg.delta.kinds.")))
"""


@pytest.mark.parametrize("delta", ACCEPTED, ids=lambda delta: delta["id"])
def test_a_declared_kind_is_the_one_that_all_kinds_agree_on(delta):
    files, (view, _) = open_folder(corpus.CORPUS / delta["path"]).files, corpus.base(delta["base"])

    found = recognise(files, view)

    assert found == recognise(files, view, kinds=all_kinds().values())


def test_a_lora_loads_no_other_kind():
    folders = [SAMPLES / "deltas" / "tinyllama" / "lora", SAMPLES / "bases" / "tinyllama"]

    done = subprocess.run([sys.executable, "-c", _RECOGNISING, *folders], capture_output=True, text=True, check=True)

    assert done.stdout.split("\n")[0] == "peft LORA deltareg.delta.kinds.lora"
