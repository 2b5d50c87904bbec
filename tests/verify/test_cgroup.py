"""Control groups: which group is claimed, what a child's group bounds, and what is left."""

import os
import subprocess
import sys

import pytest

from deltareg_verify.sandbox import cgroup


@pytest.fixture
def group(tmp_path):
    """Lay out a delegated group as the kernel does; its files take what is written."""
    folder = tmp_path / "delegated"
    folder.mkdir()
    (folder / "cgroup.controllers").write_text("memory pids")
    (folder / "cgroup.procs").write_text(f"{os.getppid()}\n{os.getpid()}\n")
    return folder


@pytest.fixture
def supervisor(group):
    cgroup.claim(group)
    return group / "deltareg-supervisor"


def test_a_group_of_ones_own_is_claimed(group, supervisor):
    assert (supervisor / "cgroup.procs").read_text() in {str(os.getpid()), str(os.getppid())}
    assert (group / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_what_is_claimed_is_not_claimed_again(supervisor):
    cgroup.claim(supervisor)

    assert [entry.name for entry in supervisor.iterdir()] == ["cgroup.procs"]


def test_a_group_with_processes_of_others_is_left_alone(group):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (group / "cgroup.procs").write_text(f"{os.getpid()}\n{other.pid}\n")

        with pytest.raises(PermissionError, match=str(other.pid)):
            cgroup.claim(group)
        other.kill()

    assert not (group / "deltareg-supervisor").exists()


def test_a_child_joins_a_group_with_limits(group, supervisor):
    cgroup.join(supervisor, number=7, memory_bytes=1 << 30)

    own = group / "deltareg-child-7"
    told = {file.name: file.read_text() for file in own.iterdir()}
    assert told["memory.max"] == str(1 << 30)
    assert told["memory.swap.max"] == "0"
    assert int(told["pids.max"]) > 0
    assert told["cgroup.procs"] == "0"


def test_nobody_joins_what_was_not_claimed(group):
    with pytest.raises(PermissionError):
        cgroup.join(group, number=7, memory_bytes=None)

    assert [entry.name for entry in group.parent.iterdir()] == ["delegated"]


def test_a_group_is_ended_with_all_that_is_in_it(group, supervisor):
    own = group / "deltareg-child-7"
    own.mkdir()

    cgroup.end(supervisor, number=7)
    cgroup.end(supervisor, number=7)

    assert not own.exists() or (own / "cgroup.kill").read_text() == "1"


@pytest.mark.parametrize(("own", "above", "least"), [("max", "5", 5), ("3", "5", 3), ("max", "max", None)])
def test_the_least_limit_counts(group, own, above, least):
    (group / "memory.max").write_text(own)
    (group.parent / "memory.max").write_text(above)

    assert cgroup.memory_limit(group, group.parent) == least


def test_a_machine_without_groups_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        cgroup.own_group(tmp_path)


def test_the_kernel_takes_it():
    """On a machine where this process has a group of its own."""
    try:
        cgroup.claim(cgroup.own_group())
    except OSError as error:
        pytest.skip(f"needs a delegated group of cgroup v2: {error}")
    group = cgroup.own_group()
    script = (
        "import os; from deltareg_verify.sandbox import cgroup;"
        f"cgroup.join(cgroup.own_group(), number={os.getpid()}, memory_bytes=1 << 28);"
        "print(cgroup.own_group().name, flush=True); bytearray(1 << 30)"
    )

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    cgroup.end(group, number=os.getpid())

    assert run.stdout.strip() == f"deltareg-child-{os.getpid()}"
    assert run.returncode == -9
