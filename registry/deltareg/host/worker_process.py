"""Asks the worker's package something in a process of its own, without importing it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import cast

from deltareg.errors import DeltaregError, Inconclusive, error_classes

# It computes with a base from this disk and asks nothing of a hub. Its threads do not spin while they wait: that takes
# the time of whatever else runs here, and beside a training sixteen times as long for the same.
_FIXED = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def worker_line() -> list[str]:
    """Return the start of a worker's command line; that worker ends when this process does."""
    return [sys.executable, "-m", "deltareg_verify", "--with-parent", str(os.getpid())]


def worker_environ() -> dict[str, str]:
    """Return the variables of a process of the worker's package that this one starts."""
    return {**os.environ, **_FIXED}


def ask(*args: str, timeout_s: float | None = None, is_silent: bool = False) -> Mapping[str, object]:
    """Run a command of the worker's package in a process, and return the document that it writes.

    The process ends when this one does, however that ends.

    Args:
        args: The words of its command line.
        timeout_s: How long it may take; None for as long as it likes.
        is_silent: Whether what its libraries write beside the document is dropped.

    Raises:
        DeltaregError: The error that the process reports.
        Inconclusive: It ended without a document, or took too long.
    """
    line = [*worker_line(), *args]
    try:
        ended = subprocess.run(  # noqa: S603  # our own module
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if is_silent else None,
            env=worker_environ(),
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise Inconclusive(f"deltareg-worker {args[0]} took more than {timeout_s} s") from error
    try:
        document = cast("dict[str, object]", json.loads(ended.stdout))
    except ValueError as error:
        message = f"deltareg-worker {args[0]} ended with status {ended.returncode}"
        raise Inconclusive(message, fix="see what it wrote above; it may lack memory") from error
    if "error" in document:
        raise rebuild_error(cast("dict[str, str]", document["error"]))
    return document


def rebuild_error(fields: Mapping[str, str]) -> DeltaregError:
    """Build the error that another process of ours reported."""
    error_class = error_classes().get(fields["code"], DeltaregError)
    error = error_class.__new__(error_class)  # a class may ask for facts that are here in words only
    DeltaregError.__init__(error, fields["message"], fix=fields["fix"])
    return error
