"""A terminal of 80 columns: a command is run on a pseudo-terminal, as a person has it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass

COLUMNS, ROWS = 80, 24
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Zhl]")
_BAR = "\x1b[?25h"  # a bar of progress has ended, and the cursor is shown again


@dataclass(frozen=True)
class Screen:
    """What a command has written on a terminal.

    Attributes:
        status: The exit status.
        written: All of it, with bars that were removed again.
    """

    status: int
    written: str

    @property
    def painted(self):
        """What stands there once it has ended, with its colours."""
        return _MOVES.sub("", self.written.rpartition(_BAR)[2]).lstrip("\r")

    @property
    def text(self):
        """What stands there, without colours."""
        return _CONTROLS.sub("", self.painted)

    @property
    def everything(self):
        """All that was written, without colours: what stood above a bar as well."""
        return _CONTROLS.sub("", self.written)

    @property
    def lines(self):
        """The lines without colours."""
        return self.text.splitlines()


def show(*words, environ=None, cwd=None):
    """Run a command line of `deltareg` on a terminal, and give what stands there after it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environ = {**(os.environ if environ is None else environ), "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "deltareg_cli", *map(str, words)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environ,
        cwd=cwd,
    )
    os.close(follower)
    written = _read(leader)
    os.close(leader)
    return Screen(process.wait(60), written.decode().replace("\r\n", "\n"))


def _read(leader):
    """Read until the other side has closed the terminal."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # Linux says so that nobody writes any more
            return b"".join(parts)
        if not part:
            return b"".join(parts)
        parts.append(part)
