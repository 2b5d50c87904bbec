"""Commands of the installed command line, with their time and their peak of anonymous memory."""

import json
import os
import subprocess
import time
from dataclasses import dataclass

from tests.faults import big

MB = 1_000_000


@dataclass(frozen=True)
class Done:
    """A command that ended well: its result, its time, its peak of anonymous memory."""

    document: dict
    seconds: float
    peak_bytes: int

    @property
    def sent(self):
        return self.document["uploaded_bytes"]


class Cli:
    """Runs the installed command line as one user."""

    def __init__(self, processes, server, token):
        self._processes, self._server, self._token = processes, server, token

    def start(self, *args, server=None):
        return self._processes.deltareg(*args, "--json", server=server or self._server, token=self._token)

    def __call__(self, *args):
        began = time.monotonic()
        running = self.start(*args)
        with big.peak_memory(running.pid) as peak:
            status = running.wait(600)
        assert status == 0, running.errors
        return Done(json.loads(running.output), time.monotonic() - began, peak[0])


def copy_seconds(source, target):
    """Copy a folder with `cp -r`, wait for the disk as we do, and give how long that took."""
    began = time.monotonic()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    for path in target.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return time.monotonic() - began
