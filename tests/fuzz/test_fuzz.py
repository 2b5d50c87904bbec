"""Readers of formats take any bytes: one of our errors comes out or what was written, in bounded memory and time.

A target is a reader (`tests/fuzz/targets`), with sound inputs (`corpus/<target>`) and those that once broke it
(`found/<target>`). They run in a process of its own. `DELTAREG_TEST_FUZZ_S` is how many CPU seconds each target
gets in the soak; a failure tells what to keep: the input stands in the file that it names.
"""

import json
import os
import re
import secrets
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.fuzz.modules import NO_FORMATS, READS, elsewhere
from tests.fuzz.registered import targets
from tests.fuzz.target import CORPUS, FOUND

_CASES = 40
_SOAK_S = float(os.environ.get("DELTAREG_TEST_FUZZ_S", "600"))
_PACKAGES = {"": "registry/deltareg", "gpu_verify:": "gpu_verify/deltareg_verify", "cli:": "cli/deltareg_cli"}


def fuzz(tmp_path, **ask):
    """Let a child read inputs; give how many ended how, by target."""
    at = tmp_path / "input"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.child", json.dumps({"at": str(at), **ask})],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    target = at.with_name("input.target")
    name = target.read_text() if target.exists() else "none"
    told = f"{name}, status {ended.returncode}, input in {at}: {json.dumps(ask)}"
    assert ended.returncode == 0, f"{told}\n{ended.stderr[-4000:]}"
    return json.loads(ended.stdout)


def test_sound_inputs_and_those_that_were_found_end_well(tmp_path):
    counts = fuzz(tmp_path, is_found=True)

    assert counts.keys() == targets().keys()
    unread = [name for name, ends in counts.items() if not targets()[name].corpus() and ends]
    assert unread == []


def test_damaged_inputs_end_well(tmp_path):
    counts = fuzz(tmp_path, end=_CASES)

    assert all(sum(ends.values()) == _CASES for ends in counts.values())


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(targets()))
def test_a_target_ends_well_for_minutes(tmp_path, name):
    fuzz(tmp_path, targets=[name], seed=secrets.randbits(32), end=1 << 40, seconds=_SOAK_S)


@pytest.mark.parametrize("name", sorted(targets()))
def test_a_target_has_sound_input(name):
    assert targets()[name].corpus()


def test_each_folder_of_inputs_has_a_target():
    assert {folder.name for place in (CORPUS, FOUND) for folder in place.iterdir()} <= targets().keys()


def test_the_corpus_is_small():
    assert (
        sum(file.stat().st_size for place in (CORPUS, FOUND) for file in place.rglob("*") if file.is_file()) < 1 << 20
    )


def test_each_module_that_reads_a_format_has_a_target():
    reached = {module for target in targets().values() for module in target.modules} | elsewhere()
    reading = {
        prefix + ".".join(path.relative_to(REPOSITORY / package).with_suffix("").parts).removesuffix(".__init__")
        for prefix, package in _PACKAGES.items()
        for path in (REPOSITORY / package).rglob("*.py")
        if re.search(READS, path.read_text(encoding="utf-8")) and "testing/" not in str(path)
    }

    unreached = reading - reached - NO_FORMATS.keys()
    assert unreached == set(), "write a target in tests/fuzz/targets, or say in tests/fuzz/modules.py why there is none"
    assert NO_FORMATS.keys() <= reading, "these read nothing any more"
