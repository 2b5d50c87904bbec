"""Queues runs and follows them until they end."""

import time
from collections.abc import Callable

from deltareg.client.context import Context
from deltareg.errors import WaitTimeout
from deltareg.refs import parse_id
from deltareg.wire import LogLine, RunCreate, RunInfo, RunLog

_POLL_S = 20.0
_QUEUED_POLL_S = 5.0  # its place in the queue changes without anything being told
_COMMANDS = {"reencode": "deltareg flatten", "prove": "deltareg prove"}


def queue_verification(context: Context, wanted: RunCreate) -> RunInfo:
    """Queue a verification, or return the run that is under way or has given a verdict."""
    return context.api.post("/runs", wanted, RunInfo)


def follow_run(
    context: Context,
    run_id: str,
    *,
    timeout_s: float,
    on_change: Callable[[RunInfo], None] | None = None,
    on_line: Callable[[LogLine], None] | None = None,
    is_needless: Callable[[], bool] | None = None,
) -> RunInfo:
    """Wait until a run has ended; the server answers as soon as something happens.

    Args:
        context: The client's surroundings.
        run_id: The run.
        timeout_s: How long to wait at most.
        on_change: Called with the run whenever it has changed.
        on_line: Called with each line of its log, in order.
        is_needless: Called now and then; where it returns true (another run has shown the same),
            the run is returned as it is, though it goes on.

    Raises:
        WaitTimeout: The run has not ended in time.
    """
    deadline = time.monotonic() + timeout_s
    after = 0
    last: RunInfo | None = None
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        log = read_run_log(context, run_id, after=after, seen=last, wait_s=left_s)
        run, after = log.run, log.next_seq
        if on_line is not None:
            for line in log.items:
                on_line(line)
        if on_change is not None and run != last:
            on_change(run)
        if run.is_over and (on_line is None or not log.items):
            return run
        if is_needless is not None and is_needless():
            return run
        if time.monotonic() >= deadline and not run.is_over:
            raise WaitTimeout(
                f"run {run_id} is still {run.state} after {timeout_s:.0f} s; it goes on",
                fix=f"look again: {_again(run)}",
            )
        last = run


def _again(run: RunInfo) -> str:
    """Return the command that goes on waiting and queues nothing new."""
    if run.what == "answer":
        return f"deltareg ask --show {run.id}"
    if run.what == "compare":
        return f"deltareg diff {run.other} {run.ref} --on worker"
    return f"{_COMMANDS.get(run.what, 'deltareg verify')} {run.ref} --wait"


def read_run_log(
    context: Context, run_id: str, *, after: int, seen: RunInfo | None = None, wait_s: float = 0
) -> RunLog:
    """Read a run and its log from a line on; where `seen` still goes on, wait for news."""
    path = f"/runs/{parse_id(run_id, 'run')}/log"
    if seen is None or seen.is_over:
        return context.api.get(path, RunLog, after=after)
    poll_s = _POLL_S if seen.state == "running" else _QUEUED_POLL_S
    return context.api.get(path, RunLog, after=after, wait=min(poll_s, wait_s), seen=seen.state)
