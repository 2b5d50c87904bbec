"""The zygote: a process with torch imported and no device touched, which forks one child per run.

Started as `python -m deltareg_verify.sandbox.zygote_process FD MODULE` with a bare environment. The
module says what children do: its `warm` imports what is expensive, its `prepare` turns a request
into what a child does, in the zygote, so that what it imports is there for all later runs.

The supervisor sends one request at a time over a socket, with the child's two pipes; the zygote
answers `started` and, when the child is gone, `ended STATUS`. Whatever comes over the socket
meanwhile, its end included, kills the child with its whole process group, its pid namespace and
whatever it left elsewhere: no child outlives its supervisor.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from deltareg.host.garbage import collect_rarely
from deltareg_verify.sandbox import cgroup, layers

Prepare = Callable[[bytes], Callable[[BinaryIO], None]]

REQUEST_BYTES = 1 << 16
_FAILED = 70
_ROUNDS = 10_000


def main() -> None:
    """Import what is expensive, report that it is ready, and serve until the supervisor is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
    collect_rarely()
    layers.adopt()
    with suppress(OSError):  # no group was handed to this worker; the level says so
        cgroup.claim(cgroup.own_group())
    seat = socket.socket(fileno=int(sys.argv[1]))
    module = importlib.import_module(sys.argv[2])
    module.warm()
    prepare: Prepare = module.prepare
    _tell(seat, b"ready")
    while True:
        request, pipes, _, _ = socket.recv_fds(seat, REQUEST_BYTES, 2)
        if not request:
            return
        if len(pipes) == 2:  # without pipes it is a kill that came after its child had ended
            act = prepare(request)
            gc.freeze()  # or a child that collects garbage looks at, and copies, all that is here
            _serve(seat, list(pipes), act)


def _serve(seat: socket.socket, pipes: list[int], act: Callable[[BinaryIO], None]) -> None:
    pid = _fork(seat, pipes, act)
    for pipe in pipes:
        os.close(pipe)
    _tell(seat, b"started")
    _tell(seat, b"ended %d" % _wait(seat, pid))


def _tell(seat: socket.socket, message: bytes) -> None:
    with suppress(BrokenPipeError):  # the supervisor is gone; the next read says so
        seat.send(message)


def _fork(seat: socket.socket, pipes: list[int], act: Callable[[BinaryIO], None]) -> int:
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = _FAILED
    try:
        layers.detach(zygote)
        seat.close()
        out, errors = pipes
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        with os.fdopen(out, "wb") as pipe:
            act(pipe)
        status = 0
    except BaseException:  # noqa: BLE001  # it is told, and nothing runs after it but the exit
        traceback.print_exc()
    finally:
        os._exit(status)  # never back into the zygote's loop


def _wait(seat: socket.socket, pid: int) -> int:
    exit_of = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([exit_of, seat.fileno()], [], [])
        if exit_of not in ready:
            seat.recv(REQUEST_BYTES)
            os.kill(pid, signal.SIGKILL)  # it alone: just forked, it has no process group of its own yet
    finally:
        os.close(exit_of)
    _, status = os.waitpid(pid, 0)
    with suppress(ProcessLookupError):  # what it may have left in its process group
        os.killpg(pid, signal.SIGKILL)
    _end_strays()
    with suppress(OSError):
        cgroup.end(cgroup.own_group(), number=os.getpid())
    return os.waitstatus_to_exitcode(status)


def _end_strays() -> None:
    """Kill what the child started in its own sessions, and their children in turn."""
    for _ in range(_ROUNDS):
        try:
            strays = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        except FileNotFoundError:  # a kernel without that list; a pid namespace does not need it
            return
        if not strays:
            return
        for stray in map(int, strays):
            os.kill(stray, signal.SIGKILL)
            os.waitpid(stray, 0)


if __name__ == "__main__":
    main()
