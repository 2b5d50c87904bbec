"""The zygote: a child per request, and no way for a child to take its supervisor with it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deltareg.errors import Inconclusive, Misconfigured
from deltareg_verify.sandbox.zygote import Zygote
from tests.process_table import has_ended, is_alive, processes_below

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def surroundings_of_zygote(repository):
    return {**os.environ, "PYTHONPATH": str(repository)}


@pytest.fixture(scope="module")
def zygote(tmp_path_factory, surroundings_of_zygote):
    folder = tmp_path_factory.mktemp("scratch")
    with Zygote(folder, environment=surroundings_of_zygote, child="tests.verify.hostile") as made:
        yield made


def request(act, **given):
    return json.dumps({"act": act, **given}).encode()


def run(zygote, act, *, wall_s=60.0, interrupted=lambda: "", **given):
    said = zygote.run(request(act, **given), wall_s=wall_s, interrupted=interrupted)
    return json.loads(said)["result"]


def appeared(path):
    deadline = time.monotonic() + DEADLINE_S
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return int(path.read_text())


def test_a_child_leads_its_own_session(zygote):
    assert run(zygote, "look")["leader"]


def test_a_child_has_no_socket_of_its_supervisor(zygote):
    assert not [name for name in run(zygote, "look")["open"] if name.startswith("socket:")]


def test_children_come_one_after_the_other_from_one_zygote(zygote):
    before = zygote.pid

    assert [run(zygote, "say", text=text) for text in "abc"] == ["a", "b", "c"]
    assert zygote.pid == before


def test_a_child_that_looks_for_garbage_leaves_alone_what_it_was_forked_with(zygote):
    """To look at an object is to copy the page that it lies on, which takes longer than a check."""
    own, inherited = run(zygote, "collect")

    assert own < 1_000 < inherited


@pytest.mark.parametrize(
    ("act", "given", "told"),
    [
        ("segfault", {}, "signal 11"),
        ("leave", {"status": 3}, "status 3; it last wrote: last words"),
        ("read", {"path": 3}, "TypeError"),
    ],
    ids=["crash", "exit", "exception"],
)
def test_a_child_that_breaks_is_told_with_its_last_words(zygote, act, given, told):
    with pytest.raises(Inconclusive, match=told):
        run(zygote, act, **given)

    assert run(zygote, "say", text="still here") == "still here"


def test_a_child_that_hangs_is_killed_in_time(zygote, tmp_path):
    with pytest.raises(Inconclusive, match="ran out of time"):
        run(zygote, "hang", pid_file=str(tmp_path / "pid"), wall_s=0.5)

    assert has_ended(appeared(tmp_path / "pid"))
    assert run(zygote, "say", text="still here") == "still here"


def test_a_child_that_closes_its_pipe_and_hangs_is_killed(zygote):
    with pytest.raises(Inconclusive, match="ran out of time"):
        run(zygote, "close_and_hang", wall_s=0.5)


def test_a_child_that_says_too_much_is_killed(zygote):
    with pytest.raises(Inconclusive, match="more than a report may hold"):
        run(zygote, "flood")


def test_an_interruption_kills_the_child(zygote, tmp_path):
    file = tmp_path / "pid"

    with pytest.raises(Inconclusive, match="the lease is lost"):
        run(zygote, "hang", pid_file=str(file), interrupted=lambda: "the lease is lost" if file.exists() else "")

    assert has_ended(appeared(file))


def test_what_a_child_leaves_behind_is_killed_with_it(zygote, tmp_path):
    assert run(zygote, "leave_child_behind", pid_file=str(tmp_path / "pid")) == "left"

    assert has_ended(appeared(tmp_path / "pid"))


@pytest.mark.parametrize("act", ["leave_the_session", "multiply"])
@pytest.mark.parametrize("is_sandboxed", [True, False], ids=["in_the_sandbox", "without"])
def test_everything_that_a_child_starts_is_killed_in_time(zygote, tmp_path, act, is_sandboxed):
    """Also what leaves its session, with the wall open that lets it start anything."""
    word = f"{act}-{tmp_path.name}"
    given = {"word": word, **({"most": 60} if act == "multiply" else {})}
    if is_sandboxed:
        given |= {"scratch": str(tmp_path), "without": ["calls"]}
    seen: set[str] = set()
    began = time.monotonic()

    with pytest.raises(Inconclusive, match="ran out of time"):
        run(zygote, act, wall_s=2.0, interrupted=watch(word, seen), **given)

    assert seen
    assert time.monotonic() - began < 2.0 + DEADLINE_S
    assert not running(word)
    assert run(zygote, "say", text="still here") == "still here"


def watch(word, seen):
    def look():
        seen.update(running(word))
        return ""

    return look


def running(word):
    """Tell the processes of this machine that have a word on their command line."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word in (entry / "cmdline").read_text().split("\0"):
                found.add(entry.name)
    return found


@pytest.mark.parametrize(("act", "told"), [("segfault", "signal 11"), ("abort", "signal (6|11)"), ("spin", "signal 9")])
def test_a_crash_inside_the_sandbox_is_told_as_outside(zygote, tmp_path, act, told):
    with pytest.raises(Inconclusive, match=told):
        run(zygote, act, scratch=str(tmp_path), cpu_s=1)

    assert run(zygote, "say", text="still here") == "still here"


def test_memory_that_is_eaten_is_the_childs_alone(zygote, tmp_path):
    eaten = run(zygote, "devour", scratch=str(tmp_path), memory_bytes=1 << 30)

    assert eaten == {"error": "MemoryError"}
    assert run(zygote, "say", text="still here") == "still here"


def test_a_zygote_that_is_killed_takes_a_sandboxed_child_along(tmp_path, surroundings_of_zygote):
    children: list[int] = []

    def kill_zygote():
        if made.pid and not children:
            children.extend(processes_below(made.pid))
            if len(children) == 2:  # the child, and its first process in a pid namespace
                os.kill(made.pid, signal.SIGKILL)
            else:
                children.clear()
        return ""

    with Zygote(tmp_path, environment=surroundings_of_zygote, child="tests.verify.hostile") as made:
        level = json.loads(made.run(request("say", text="", scratch=str(tmp_path)), wall_s=60))
        if "pid" not in level["level"].split():
            pytest.skip("needs the layer pid, which this kernel or container does not allow")
        with pytest.raises(Inconclusive, match="it restarts"):
            run(made, "hang", scratch=str(tmp_path), interrupted=kill_zygote)

    assert all(has_ended(pid) for pid in children)


def test_the_folder_that_a_worker_starts_in_is_none_of_its_childs(tmp_path, surroundings_of_zygote, monkeypatch):
    """`python -m` would put it on the path, and what is on the path may be read."""
    (tmp_path / "secret").write_text("secret")
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own"
    own.mkdir()

    with Zygote(own, environment=surroundings_of_zygote, child="tests.verify.hostile") as made:
        wanted = request("read", path=str(tmp_path / "secret"), scratch=str(own))
        said = json.loads(made.run(wanted, wall_s=60))

    if "files" not in said["level"].split():
        pytest.skip("needs the layer files, which this kernel does not have")
    assert "error" in said["result"]


def test_a_zygote_that_is_killed_is_started_again(tmp_path, surroundings_of_zygote):
    with Zygote(tmp_path, environment=surroundings_of_zygote, child="tests.verify.hostile") as made:
        run(made, "say", text="x")
        first = made.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert has_ended(first)

        try:
            run(made, "say", text="y")
        except Inconclusive:  # its death was seen only when it was spoken to
            assert run(made, "say", text="y") == "y"

        assert made.pid != first


def test_a_zygote_that_is_killed_takes_its_child_along(tmp_path, surroundings_of_zygote):
    file = tmp_path / "pid"

    def kill_zygote():
        if file.exists() and made.pid:
            os.kill(made.pid, signal.SIGKILL)
        return ""

    with Zygote(tmp_path, environment=surroundings_of_zygote, child="tests.verify.hostile") as made:
        with pytest.raises(Inconclusive, match="it restarts"):
            run(made, "hang", pid_file=str(file), interrupted=kill_zygote)

        assert has_ended(appeared(file))
        assert run(made, "say", text="again") == "again"


def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path, surroundings_of_zygote):
    script = (
        "import os, sys; from pathlib import Path\n"
        "from deltareg_verify.sandbox.zygote import Zygote\n"
        "zygote = Zygote(Path(sys.argv[1]), environment=os.environ, child='tests.verify.hostile')\n"
        "zygote.run(sys.argv[2].encode(), wall_s=600,\n"
        "           interrupted=lambda: print(zygote.pid, flush=True) or '')\n"
    )
    hang = request("hang", pid_file=str(tmp_path / "pid")).decode()
    supervisor = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), hang], env=surroundings_of_zygote, stdout=subprocess.PIPE
    )
    with supervisor:
        assert supervisor.stdout is not None
        zygote_pid = int(supervisor.stdout.readline())
        child_pid = appeared(tmp_path / "pid")
        assert is_alive(child_pid)

        supervisor.kill()

    assert has_ended(child_pid)
    assert has_ended(zygote_pid)


def test_closing_ends_the_zygote(tmp_path, surroundings_of_zygote):
    made = Zygote(tmp_path, environment=surroundings_of_zygote, child="tests.verify.hostile")
    run(made, "say", text="x")
    pid = made.pid

    made.close()
    made.close()

    assert has_ended(pid)


def test_a_zygote_that_cannot_start_is_misconfigured(tmp_path, surroundings_of_zygote):
    made = Zygote(tmp_path, environment=surroundings_of_zygote, child="no.such.module")

    with pytest.raises(Misconfigured, match="did not start"):
        run(made, "say", text="x")


def test_no_entry_of_the_import_path_means_the_folder_that_it_was_started_in(repository, tmp_path):
    entries = ["", str(repository), ".", "lib", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entries)}
    with Zygote(tmp_path, environment=environment, child="tests.verify.hostile") as made:
        said = json.loads(made.run(request("environment"), wall_s=60))["result"]

    assert said["PYTHONPATH"] == os.pathsep.join([str(repository), str(tmp_path)])
