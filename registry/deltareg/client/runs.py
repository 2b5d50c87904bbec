"""Runs from the client's side: queue, wait, lease."""

import time
from collections.abc import Callable

from pydantic import TypeAdapter

from deltareg.client.context import Context
from deltareg.client.resolving import resolve, version_path
from deltareg.errors import InvalidInput, WaitTimeout
from deltareg.refs import Ref, parse_id
from deltareg.wire import LeaseGrant, LeaseRequest, RunCreate, RunInfo, request_of

_POLL_S = 20.0
_COMMANDS = {"reencode": "deltareg flatten"}
_ENDED = {"done", "dead", "cancelled"}
_GRANT: TypeAdapter[LeaseGrant | None] = TypeAdapter(LeaseGrant | None)


def verify(context: Context, ref: str, *, suite: str, again: bool, channel: str | None) -> RunInfo:
    """Queue a verification, or join the one under way, or give the one that has judged."""
    wanted = request_of(RunCreate, ref=ref, suite=suite, again=again, channel=channel)
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


def wait(
    context: Context,
    run_id: str,
    *,
    timeout_s: float,
    on_change: Callable[[RunInfo], None] | None,
) -> RunInfo:
    """Wait until a run has ended; the server answers as soon as something changes.

    Raises:
        WaitTimeout: It goes on.
    """
    path = f"/runs/{parse_id(run_id, 'run')}"
    deadline = time.monotonic() + timeout_s
    seen: RunInfo | None = None
    while True:
        left_s = max(0.0, min(_POLL_S, deadline - time.monotonic()))
        state = None if seen is None else seen.state
        run = context.api.get(path, RunInfo, wait=left_s if state else 0, seen=state)
        if on_change is not None and run != seen:
            on_change(run)
        if run.state in _ENDED:
            return run
        if time.monotonic() >= deadline:
            raise WaitTimeout(
                f"run {run_id} is still {run.state} after {timeout_s:.0f} s; it goes on",
                fix=f"look again: {_COMMANDS.get(run.what, 'deltareg verify')} {run.ref} --wait",
            )
        seen = run


def lease(context: Context, request: LeaseRequest) -> LeaseGrant | None:
    """Ask for work; None when there was none within the time to wait."""
    response = context.api.send("POST", "/leases", body=request)
    return _GRANT.validate_json(response.content)
