"""Runs the workers of `deltareg up` beside the server: started with it, ended with it.

A worker that a signal ended, as when memory ran out, is restarted. One that ended by itself is not:
it has said why, and would end the same way again.
"""

import logging
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

log = logging.getLogger(__name__)

_LOOK_S, _END_S = 0.5, 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


@contextmanager
def kept_running(
    commands: Sequence[Sequence[str]], environ: Mapping[str, str], *, first_pause_s: float = _FIRST_PAUSE_S
) -> Generator[None, None, None]:
    """Keep processes running while the block lasts, each in a process group of its own.

    So Ctrl-C reaches the server alone; the processes are ended with the block.
    """
    is_over = threading.Event()
    # Not daemons: a process started for a thread is told when that thread ends (PR_SET_PDEATHSIG).
    keepers = [threading.Thread(target=_keep, args=(command, environ, is_over, first_pause_s)) for command in commands]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        is_over.set()
        for keeper in keepers:
            keeper.join()


def _keep(command: Sequence[str], environ: Mapping[str, str], is_over: threading.Event, first_pause_s: float) -> None:
    pause_s = first_pause_s
    while not is_over.is_set():
        began = time.monotonic()
        process = subprocess.Popen(command, env=environ, process_group=0)  # noqa: S603  # ours
        _attend(process, is_over)
        if process.returncode >= 0 or is_over.is_set():
            return
        is_lasting = time.monotonic() - began > _LONGEST_PAUSE_S
        pause_s = first_pause_s if is_lasting else pause_s
        log.warning("a worker was ended by signal %d; another is started in %.0f s", -process.returncode, pause_s)
        is_over.wait(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _attend(process: subprocess.Popen[bytes], is_over: threading.Event) -> None:
    """Wait for a process to end, and end it once `is_over` is set."""
    while process.poll() is None and not is_over.wait(_LOOK_S):
        pass
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
