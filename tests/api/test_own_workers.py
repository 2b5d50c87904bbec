"""The workers beside a server: one that was killed is started anew, one that gave up is not."""

import os
import signal
import sys
import threading
import time

import pytest

from deltareg.api.own_workers import kept_running

LIVE = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True);"


@pytest.fixture
def worker(tmp_path):
    """Give the command of a process that notes its number and then does something."""
    return lambda does: [sys.executable, "-c", LIVE + does, str(tmp_path / "pids")]


def started(folder, count):
    """Wait until so many processes were started; gives their numbers."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        path = folder / "pids"
        found = path.read_text().split() if path.exists() else []
        if len(found) >= count:
            return [int(pid) for pid in found]
        time.sleep(0.02)
    raise AssertionError("it was not started")


def test_a_killed_worker_is_started_anew_and_ends_with_the_server(worker, tmp_path):
    with kept_running([worker("time.sleep(60)")], os.environ, first_pause_s=0.05):
        (first,) = started(tmp_path, 1)
        os.kill(first, signal.SIGKILL)
        second = started(tmp_path, 2)[1]

    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_that_gave_up_is_left_alone(worker, tmp_path):
    threads = threading.active_count()

    with kept_running([worker("sys.exit(2)")], os.environ, first_pause_s=0.0):
        until = time.monotonic() + 20
        while threading.active_count() > threads and time.monotonic() < until:
            time.sleep(0.02)
        is_watched = threading.active_count() > threads

    assert not is_watched
    assert len(started(tmp_path, 1)) == 1
