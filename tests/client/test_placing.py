"""Folders in the making: what a killed process left goes, what somebody works on stays."""

import errno
import os
import subprocess
import sys
import time

import pytest

from deltareg.client.disk.drafts import draft_name
from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.disk.whole_folder import place_folder, replace_folder
from deltareg.errors import DiskFull, InvalidInput

DAY_S = 86_400
MAKER = """
import os, signal, sys
from pathlib import Path
from deltareg.client.disk.whole_folder import place_folder
with place_folder(Path(sys.argv[1])) as draft:
    (draft / "half").write_bytes(b"1" * 1000)
    print(draft, flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def maker(target, how):
    """Start a process that makes a folder and dies, or waits for the end of its input."""
    return subprocess.Popen(
        [sys.executable, "-c", MAKER, str(target), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def drafts(folder):
    return sorted(path.name for path in folder.glob(".deltareg-*"))


def fill_beside(target):
    with place_folder(target) as draft:
        (draft / "file").write_bytes(b"whole")


def replace_beside(target):
    target.mkdir()
    with replace_folder(target) as draft:
        draft.mkdir()


@pytest.mark.parametrize("make", [fill_beside, replace_beside])
def test_what_a_killed_process_left_goes_with_the_next(tmp_path, make):
    maker(tmp_path / "one", "die").communicate()
    left = drafts(tmp_path)

    make(tmp_path / "two")

    assert len(left) == 1
    assert drafts(tmp_path) == []


def test_what_a_living_process_fills_stays(tmp_path):
    rival = maker(tmp_path / "one", "wait")
    assert rival.stdout is not None
    name = rival.stdout.readline().strip()

    fill_beside(tmp_path / "two")
    during = drafts(tmp_path)
    rival.communicate()

    assert [str(tmp_path / each) for each in during] == [name]
    assert (tmp_path / "one" / "half").exists()


@pytest.mark.parametrize(("age_days", "is_there"), [(1, True), (3, False)])
def test_of_another_machine_only_what_is_old_goes(tmp_path, age_days, is_there):
    own = draft_name(tmp_path).name.split("-")
    other = tmp_path / "-".join([own[0], "0" * 12, *own[2:]])
    other.mkdir()
    (other / "file").write_bytes(b"1")
    for path in (other / "file", other):
        os.utime(path, (time.time() - age_days * DAY_S,) * 2)

    fill_beside(tmp_path / "two")

    assert other.exists() == is_there


def test_an_error_names_the_folder_that_was_meant(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(InvalidInput, match=rf"^{tmp_path / 'file'} cannot be written to"):
        fill_beside(tmp_path / "file" / "below")
    with pytest.raises(DiskFull, match=rf"^the disk of {tmp_path} is full"):
        fill_a_full_disk(tmp_path / "out")


def fill_a_full_disk(target):
    with place_folder(target) as draft, out_of_space(draft):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
