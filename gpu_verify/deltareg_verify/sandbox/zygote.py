"""The supervisor's handle on its zygote: one request, one child, one answer."""

import logging
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from deltareg.errors import Inconclusive, Misconfigured, OutOfTime
from deltareg_verify.messages.report import MOST_BYTES

log = logging.getLogger(__name__)

_OVERDUE = "the child ran out of time and was killed"
_START_S = 120.0
_LAST_WORDS_S = 10.0
_POLL_S = 0.1
_MESSAGE_BYTES = 1 << 12
_TAIL_BYTES = 600
# What children may know of the supervisor's environment: where libraries lie, which GPUs.
_INHERITED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
)
_FIXED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads starve each other on a shared machine
    "OPENBLAS_NUM_THREADS": "1",  # its threads would not survive the fork
}


class Zygote:
    """A zygote process, started on first use and again after it has died."""

    def __init__(
        self, scratch: Path, *, environment: Mapping[str, str], child: str = "deltareg_verify.child.main"
    ) -> None:
        """Store where children may write, the environment to select from, and the child's module."""
        self._child = child
        variables = {key: environment[key] for key in _INHERITED if key in environment}
        if "PYTHONPATH" in variables:
            variables["PYTHONPATH"] = _import_path(variables["PYTHONPATH"])
        self._environment = variables | _FIXED | {"HOME": str(scratch), "TMPDIR": str(scratch)}
        self._process: subprocess.Popen[bytes] | None = None
        self._seat: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The zygote's process id; None before it has started."""
        return self._process.pid if self._process else None

    def run(
        self,
        request: bytes,
        *,
        wall_s: float,
        interrupted: Callable[[], str] = lambda: "",
        heard: Callable[[bytes], None] = lambda _: None,
    ) -> bytes:
        """Run a request in a child and return its output.

        Args:
            request: For `deltareg_verify.child.main.prepare`.
            wall_s: Seconds after which the child is killed.
            interrupted: Called ten times a second; a reason in its answer kills the child.
            heard: Called with each piece of the child's output as it comes.

        Raises:
            OutOfTime: The child took longer, and was killed.
            Inconclusive: The child was killed, crashed or could not be started; its output does not
                count, and the message holds the end of its standard error.
        """
        seat = self._ensure_started()
        hears, speaks = os.pipe()
        os.set_blocking(hears, False)
        with tempfile.TemporaryFile() as errors, os.fdopen(hears, "rb", buffering=0) as words:
            try:
                socket.send_fds(seat, [request], [speaks, errors.fileno()])
            except OSError as error:
                raise self._close_and_explain() from error
            finally:
                os.close(speaks)
            ear = _Ear(seat, words, heard)
            output, end = self._attend(ear, time.monotonic() + wall_s, interrupted)
            if end == _OVERDUE:
                raise OutOfTime(f"{end}: it may take {wall_s:,.0f} s{_tail(errors)}")
            if end:
                raise Inconclusive(f"{end}{_tail(errors)}")
            return output

    def close(self) -> None:
        """End the zygote and any child; may be called twice."""
        if self._seat is not None:
            self._seat.close()
            self._seat = None
        if self._process is not None:
            try:
                self._process.wait(_LAST_WORDS_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _ensure_started(self) -> socket.socket:
        if self._seat is not None and self._process is not None and self._process.poll() is None:
            return self._seat
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # -P: the folder that the worker was started in is none to import from, nor to be read.
        program = ["-P", "-m", "deltareg_verify.sandbox.zygote_process", str(theirs.fileno()), self._child]
        began = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, *program],
            env=self._environment,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._seat = ours
        ours.settimeout(_START_S)
        if _hear(ours) != "ready":
            self.close()
            raise Misconfigured(
                "the process that imports torch did not start; its last words are above",
                fix="check the installation: pip install 'deltareg[verify]'",
            )
        log.info("zygote ready pid=%d seconds=%.1f", self._process.pid, time.monotonic() - began)
        return ours

    def _attend(self, ear: "_Ear", deadline: float, interrupted: Callable[[], str]) -> tuple[bytes, str]:
        """Listen until the child has ended; returns its output and why that does not count."""
        reason = ""
        while not (message := ear.next()).startswith("ended"):
            if message not in {"", "started"}:
                raise self._close_and_explain()
            if reason and time.monotonic() > deadline:
                raise self._close_and_explain()
            reason = reason or interrupted() or _overdue(deadline, ear.said)
            if reason and not ear.is_told:
                ear.tell_kill()
                deadline = time.monotonic() + _LAST_WORDS_S
        ear.drain()
        return bytes(ear.said), reason or _end(message)

    def _close_and_explain(self) -> Inconclusive:
        status = self._process.poll() if self._process else None
        if self._process is not None:
            self._process.kill()
        self.close()
        return Inconclusive(f"the process that forks children ended (status {status}); it restarts")


def _import_path(entries: str) -> str:
    """Drop entries that mean the folder in which the worker was started, whatever lies there.

    An empty entry does, and so does a relative one.
    """
    paths = [entry for entry in entries.split(os.pathsep) if Path(entry).is_absolute()]
    return os.pathsep.join(paths)


class _Ear:
    """Reads from the zygote and its child at once, without waiting for either for long."""

    def __init__(self, seat: socket.socket, words: IO[bytes], heard: Callable[[bytes], None]) -> None:
        self.said = bytearray()
        self._heard = heard
        self.is_told = False
        self._seat = seat
        self._words = words
        self._is_silent = False

    def next(self) -> str:
        """Return the zygote's next message, or an empty one after a moment; store the child's output."""
        seat, words = self._seat.fileno(), self._words.fileno()
        ready, _, _ = select.select([seat] if self._is_silent else [seat, words], [], [], _POLL_S)
        if words in ready:
            self._is_silent = not self._take()
        return (_hear(self._seat) or "gone") if seat in ready else ""

    def tell_kill(self) -> None:
        """Have the zygote kill the child."""
        self.is_told = True
        with suppress(OSError):  # a zygote that is gone has taken the child with it
            self._seat.send(b"kill")

    def drain(self) -> None:
        """Read the last of the child's output."""
        while not self._is_silent and self._take():
            pass

    def _take(self) -> bool:
        data = self._words.read(1 << 16)
        self.said += data or b""  # None: nothing now, though somebody still holds the other end
        self._heard(data or b"")
        return bool(data)


def _overdue(deadline: float, said: bytearray) -> str:
    if len(said) > MOST_BYTES:
        return "the child said more than a report may hold"
    return _OVERDUE if time.monotonic() > deadline else ""


def _hear(seat: socket.socket) -> str:
    try:
        return seat.recv(_MESSAGE_BYTES).decode("ascii", "replace")
    except OSError:
        return ""


def _end(message: str) -> str:
    status = int(message.split()[1])
    if status == 0:
        return ""
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return f"the child ended with {how}"


def _tail(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _TAIL_BYTES))
    text = errors.read().decode("utf-8", "replace").strip()
    return f"; it last wrote: {text}" if text else ""
