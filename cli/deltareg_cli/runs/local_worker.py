"""A worker of this command's own, for one run; it ends with the command, whatever happens."""

import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from deltareg.errors import Conflict, DeltaregError, Forbidden, Inconclusive, WaitTimeout
from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.launch import build_flags, connect, require, worker_line
from deltareg_cli.runs.waiting import wait_for
from deltareg_cli.views.runs import OWN

if TYPE_CHECKING:
    from deltareg.wire import RunCreate, RunInfo

_END_S = 15.0
_TAIL_BYTES = 1_500


def verify_here(invocation: Invocation, wanted: "RunCreate", *, timeout_s: float) -> "RunInfo":
    """Have a version verified by a worker that this command starts, and wait for the end.

    Raises:
        Misconfigured: The packages that a worker needs are not installed.
        Forbidden: The token may not verify.
        Inconclusive: The worker ended without a verdict.
        WaitTimeout: It took too long; the run is cancelled.
    """
    require("verify")
    who = invocation.client.whoami()
    if not {"verify", "admin"} & set(who.scopes):
        raise Forbidden(
            f"this token of {who.principal} does not allow 'verify', which a worker needs",
            fix=f"ask for one: deltareg token create --everywhere --for {who.principal} --scope verify",
        )
    name = f"{OWN}{uuid4().hex[:12]}"
    here = wanted.model_copy(update={"labels": {"worker": name}, "again": True, "local": True})
    run = invocation.client.runs.create(here)
    with LocalWorker(invocation, run.id, name=name) as worker:
        invocation.output.note(f"run {run.id}: starting a worker here")
        try:
            run = wait_for(invocation, run, timeout_s=timeout_s)
        except WaitTimeout as error:
            raise WaitTimeout(
                f"run {run.id} took more than {timeout_s:.0f} s here and is cancelled",
                fix="give it longer: --timeout 2h",
            ) from error
    if worker.last_words and run.verdict is None:
        raise Inconclusive(
            f"the worker here ended without a verdict: {worker.last_words}",
            fix="see all that it writes: the same command with -vv",
        )
    return run


class LocalWorker:
    """The process of a worker for one run; the run does not outlive it."""

    def __init__(self, invocation: Invocation, run_id: str, *, name: str) -> None:
        """Prepare; entering the block starts the process."""
        self.last_words = ""
        self._invocation = invocation
        self._client = invocation.client
        self._run_id = run_id
        self._name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the block ends
        self._process: subprocess.Popen[bytes] | None = None
        self._watch = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> Self:
        config = self._invocation.config
        server, environ = connect(config)
        words = [*server, *build_flags(run=self._run_id, name=self._name)]
        environ["DELTAREG_CACHE_DIR"] = str(config.cache_dir)
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            [*worker_line(), "run", *words],
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if self._invocation.globals.verbose > 1 else self._errors,
        )
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._process is not None and kind is not None:
            self._process.terminate()
        self._watch.join(_END_S)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._watch.join()
        self._errors.close()

    def _wait(self) -> None:
        """Wait for the process; if it ends before its run, cancel the run, as no other worker may take it."""
        if self._process is not None:
            self._process.wait()
        with suppress(DeltaregError):
            run = self._client.runs.show(self._run_id)
            if run.is_over:
                return
            self.last_words = run.error or self._tail() or "without a word"
            with suppress(Conflict):  # it ended just now
                self._client.runs.cancel(self._run_id)

    def _tail(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL_BYTES))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        messages = [line for line in lines if line.startswith(("error:", "fix:"))]
        return "; ".join(messages or lines[-1:])
