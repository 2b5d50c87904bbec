"""Runs from the client's side: queue, follow, find, lease."""

import time
from collections.abc import Callable

from pydantic import TypeAdapter

from deltareg.client.context import Context
from deltareg.client.resources.resolving import resolve, version_path
from deltareg.errors import InvalidInput, NotFound, WaitTimeout
from deltareg.refs import Ref, is_id, parse_id
from deltareg.wire import (
    LeaseGrant,
    LeaseRequest,
    LogLine,
    Page,
    RunCreate,
    RunInfo,
    RunLog,
    VerdictInfo,
)

_POLL_S = 20.0
_QUEUED_POLL_S = 5.0  # its place in the queue changes without anything being told
_COMMANDS = {"reencode": "deltareg flatten"}
_GRANT: TypeAdapter[LeaseGrant | None] = TypeAdapter(LeaseGrant | None)


def verify(context: Context, wanted: RunCreate) -> RunInfo:
    """Queue a verification, or join the one under way, or give the one that has judged."""
    return context.api.post("/runs", wanted, RunInfo)


def flatten(context: Context, ref: Ref) -> RunInfo:
    """Queue a run that stores a version against its base alone, or join the one under way.

    Raises:
        InvalidInput: The reference does not name one version.
    """
    if ref.is_bare:
        raise InvalidInput(f"{ref} names a line, not a version", fix=f"name one: {ref}:v1")
    version = resolve(context, ref, bare="newest")
    path = version_path(Ref.parse(version.ref))
    return context.api.post(f"{path}:flatten", None, RunInfo)


def follow(
    context: Context,
    run_id: str,
    *,
    timeout_s: float,
    on_change: Callable[[RunInfo], None] | None = None,
    on_line: Callable[[LogLine], None] | None = None,
) -> RunInfo:
    """Wait until a run has ended; the server answers as soon as something happens.

    Args:
        context: Where the registry is.
        run_id: The run.
        timeout_s: How long to wait at most.
        on_change: Told of the run whenever it is another one than before.
        on_line: Told of each line of its log, in order.

    Raises:
        WaitTimeout: It goes on.
    """
    deadline = time.monotonic() + timeout_s
    after = 0
    seen: RunInfo | None = None
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        log = read_log(context, run_id, after=after, seen=seen, wait_s=left_s)
        run, after = log.run, log.next_seq
        if on_line is not None:
            for line in log.items:
                on_line(line)
        if on_change is not None and run != seen:
            on_change(run)
        if run.is_over and (on_line is None or not log.items):
            return run
        if time.monotonic() >= deadline and not run.is_over:
            raise WaitTimeout(
                f"run {run_id} is still {run.state} after {timeout_s:.0f} s; it goes on",
                fix=f"look again: {_COMMANDS.get(run.what, 'deltareg verify')} {run.ref} --wait",
            )
        seen = run


def read_log(
    context: Context, run_id: str, *, after: int, seen: RunInfo | None = None, wait_s: float = 0
) -> RunLog:
    """Read a run and its log on from a line; waits for news of a run that was seen and goes on."""
    path = f"/runs/{parse_id(run_id, 'run')}/log"
    if seen is None or seen.is_over:
        return context.api.get(path, RunLog, after=after)
    poll_s = _POLL_S if seen.state == "running" else _QUEUED_POLL_S
    return context.api.get(path, RunLog, after=after, wait=min(poll_s, wait_s), seen=seen.state)


def find(context: Context, text: str) -> RunInfo:
    """Find a run by its own id, by that of its verdict, or as the newest one of a version.

    Raises:
        NotFound: There is none.
    """
    if is_id(text):
        try:
            return context.api.get(f"/runs/{text}", RunInfo)
        except NotFound:
            return context.api.get(f"/runs/{_run_of(context, text)}", RunInfo)
    ref = Ref.parse(text)
    page = context.api.get("/runs", Page[RunInfo], ref=str(ref), what="verify", limit=1)
    if not page.items:
        raise NotFound(f"nothing was ever run for {ref}", fix=f"deltareg verify {ref}")
    return page.items[0]


def act(context: Context, text: str, verb: str) -> RunInfo:
    """Cancel a run or repeat it; it is named as for `find`."""
    run_id = text if is_id(text) else find(context, text).id
    try:
        return context.api.post(f"/runs/{run_id}:{verb}", None, RunInfo)
    except NotFound:
        return context.api.post(f"/runs/{_run_of(context, text)}:{verb}", None, RunInfo)


def _run_of(context: Context, verdict_id: str) -> str:
    try:
        return context.api.get(f"/verdicts/{verdict_id}", VerdictInfo).run
    except NotFound as error:
        raise NotFound(
            f"there is neither a run nor a verdict {verdict_id}",
            fix="deltareg verdict ls NS/NAME:vN, or deltareg verdict ls --pending",
        ) from error


def lease(context: Context, request: LeaseRequest) -> LeaseGrant | None:
    """Ask for work; None when there was none within the time to wait."""
    # A worker asks for as long as it lives, and says so when nobody answers.
    response = context.api.send("POST", "/leases", body=request, is_patient=False)
    return _GRANT.validate_json(response.content)
