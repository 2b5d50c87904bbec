"""A terminal that types the commands of a page: one environment and folder for all of them."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import Command

_PROGRAMS = frozenset({"deltareg", "deltareg-server", "deltareg-worker", "deltareg-migrate"})
_SYNTAX = re.compile(r"[|&;<>`$*?~{}()\[\]=\\\n]")
# What a page says in place of what only its reader knows.
_TOKENS = re.compile(r"drg_pat_…|(?<=TOKEN=)…")
_TIMEOUT_S = 300
# They go on until somebody ends them: started beside the page, and ended with it.
_ENDLESS = re.compile(r"deltareg (up|agent run|worker run|events tail)\b(?!.*--once)|deltareg-server run")
_START_S = 60
_QUIET_S = 5  # one that only prints what happens may have nothing to print


@dataclass
class Terminal:
    """Types commands, and remembers what they set.

    Attributes:
        folder: The reader's folder, in which every command runs.
        environ: The environment, which `export` changes.
        url: The address of the registry.
        tokens: The token of each person by name; the reader's is in `environ`.
        addresses: What stands for an address that pages name; the registry's for its own.
        is_up: Whether the registry is that of a `deltareg up`, which pages start.
        running: What was started and goes on.
    """

    folder: Path
    environ: dict[str, str]
    url: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    is_up: bool = False
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find our programs before any others."""
        own = Path(sys.executable).parent
        self.environ["PATH"] = os.pathsep.join([str(own), self.environ["PATH"]])
        self._own = own
        self.addresses |= dict.fromkeys(("https://registry.example", "http://127.0.0.1:8642"), self.url)

    def type(self, command: Command) -> tuple[int, str]:
        """Run a command; give its exit status and all that it prints."""
        text = self.fill(command.text)
        environ = self.environ
        if command.user is not None:
            environ = {**environ, "DELTAREG_TOKEN": self._token(command.user)}
        if text == "deltareg up" and self.is_up:
            return 0, ""
        if _ENDLESS.search(text):
            return self._start(text, environ)
        words = shlex.split(text) if not _SYNTAX.search(text) else []
        if words and words[0] in _PROGRAMS:
            return self._run([str(self._own / words[0]), *words[1:]], environ)
        after = self.folder / ".environ"
        script = f"set -o pipefail -a\n{text}\nstatus=$?\nenv -0 > {shlex.quote(str(after))}\nexit $status"
        status, output = self._run(["bash", "-c", script], environ)
        if command.user is None and after.exists():
            pairs = (pair.partition("=") for pair in after.read_text().split("\0") if pair)
            self.environ = {name: value for name, _, value in pairs if name not in ("status", "_", "SHLVL")}
            after.unlink()
        return status, output

    def _token(self, user: str) -> str:
        """Look up somebody's token: one that the page made lies in `NAME-token`."""
        made = self.folder / f"{user}-token"
        return made.read_text().strip() if made.exists() else self.tokens[user]

    def fill(self, text: str) -> str:
        """Put in what a page leaves to its reader: the registry's address, and a token."""
        for shown, address in self.addresses.items():
            text = text.replace(shown, address)
        return _TOKENS.sub(self.environ["DELTAREG_TOKEN"], text)

    def end(self) -> None:
        """End what was started, as by Ctrl-C."""
        for process in self.running:
            os.killpg(process.pid, signal.SIGINT)
        for process in self.running:
            process.wait(_START_S)

    def _start(self, text: str, environ: Mapping[str, str]) -> tuple[int, str]:
        """Start what goes on; give 0 once it says something or is quiet, its own status if it ends."""
        printed = self.folder / f".output-{len(self.running)}"
        with printed.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {text}"],
                env=dict(environ),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        deadline = time.monotonic() + _QUIET_S
        while process.poll() is None and not printed.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.05)
        output = printed.read_text("utf-8")
        if process.poll() is None and not output.startswith("error"):
            return 0, output
        self.running.remove(process)
        return process.wait(_START_S), printed.read_text("utf-8")

    def _run(self, words: list[str], environ: Mapping[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            words,
            env=dict(environ),
            cwd=self.folder,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout
