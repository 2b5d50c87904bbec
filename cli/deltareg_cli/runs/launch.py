"""Starts processes of the other packages, in place of this one or beside it, without importing them."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, cast

from deltareg.documents.json_values import parse_json
from deltareg.errors import Inconclusive
from deltareg.host.parts import NEEDS, missing_of, require
from deltareg.host.worker_process import ask, rebuild_error, worker_environ, worker_line

if TYPE_CHECKING:
    from deltareg.client.config import ClientConfig

__all__ = ["NEEDS", "ask", "ask_on", "become", "build_flags", "connect", "missing_of", "require", "worker_line"]


def become(module: str, *args: str, extras: Sequence[str], environ: Mapping[str, str] | None = None) -> NoReturn:
    """Run `python -m module args` in place of this process.

    Args:
        module: A package of this project with a `__main__`.
        args: Its arguments.
        extras: The extras that it needs.
        environ: Variables beside those of this process.

    Raises:
        Misconfigured: An extra is not installed.
    """
    for extra in extras:
        require(extra)
    line = [sys.executable, "-m", module, *args]
    os.execve(sys.executable, line, {**os.environ, **(environ or {})})  # noqa: S606  # our own module


def connect(config: "ClientConfig") -> tuple[list[str], dict[str, str]]:
    """Return the words and variables by which a worker reaches the server of these settings.

    A server that only a folder names is not handed on as if the user had named it: the worker reads
    the folder's file itself, and `deltareg.client.token_reach` decides again.

    Args:
        config: The settings of this process.
    """
    if config.named_in:
        return [], {}
    return build_flags(server=config.server), {"DELTAREG_TOKEN": config.token} if config.token else {}


def ask_on(*args: str, on_progress: Callable[[Mapping[str, object]], None]) -> Mapping[str, object]:
    """Run a command as `ask` does, and report its progress meanwhile.

    The process writes a line of JSON `{"progress": …}` now and then, and one document at its end.
    Ctrl-C reaches it as well: it then writes the results so far, and these are returned.

    Args:
        args: The words of its command line.
        on_progress: Called with each step.

    Raises:
        DeltaregError: The error that the process reports.
        Inconclusive: It ended without a document.
        KeyboardInterrupt: It was interrupted and wrote no document.
    """
    line = [*worker_line(), *args]
    last: Mapping[str, object] = {}
    is_interrupted = False
    with subprocess.Popen(  # noqa: S603  # our own module
        line, stdout=subprocess.PIPE, env=worker_environ()
    ) as process:
        while True:
            try:
                last = _read_output(process, on_progress)
                process.wait()
                break
            except KeyboardInterrupt:
                if is_interrupted:  # twice: a person who does not want to wait
                    process.kill()
                    raise
                is_interrupted = True
    if "error" in last:
        raise rebuild_error(cast("dict[str, str]", last["error"]))
    if not last and is_interrupted:
        raise KeyboardInterrupt
    if not last:
        message = f"deltareg-worker {args[0]} ended with status {process.returncode}"
        raise Inconclusive(message, fix="see what it wrote above; it may lack memory")
    return last


def _read_output(
    process: "subprocess.Popen[bytes]", on_progress: Callable[[Mapping[str, object]], None]
) -> Mapping[str, object]:
    """Read a process's output to its end, and return the last document that is not progress."""
    assert process.stdout is not None
    last: Mapping[str, object] = {}
    for raw in process.stdout:
        try:
            document = cast("dict[str, object]", parse_json(raw))
        except ValueError:
            continue  # a library's own words
        if "progress" in document:
            on_progress(cast("dict[str, object]", document["progress"]))
        else:
            last = document
    return last


def build_flags(**options: object) -> list[str]:
    """Format options as words of a command line: `data_dir` as `--data-dir`."""
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return words
