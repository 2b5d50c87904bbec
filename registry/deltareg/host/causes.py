"""Why this process does what it does now: the request that asked for it, and the trace that it belongs to.

A server takes both from a request and hands them on with the run that the request asks for; a worker takes them from
the run; a client sends them along. A command takes its trace from TRACEPARENT, which OpenTelemetry names so.
"""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

TRACEPARENT: Final = "TRACEPARENT"
_FORM: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Cause:
    """A request and its trace; each may be empty."""

    request_id: str = ""
    traceparent: str = ""


_CAUSE: ContextVar[Cause | None] = ContextVar("cause", default=None)


def current_cause() -> Cause:
    """Return why this context does what it does: as `caused_by` says, or else the environment."""
    cause = _CAUSE.get()
    return Cause("", valid_traceparent(os.environ.get(TRACEPARENT, ""))) if cause is None else cause


@contextmanager
def caused_by(request_id: str, traceparent: str) -> Generator[None, None, None]:
    """Do what the block does because of a request; what is malformed is left out."""
    is_id = _REQUEST.fullmatch(request_id) is not None
    before = _CAUSE.set(Cause(request_id if is_id else "", valid_traceparent(traceparent)))
    try:
        yield
    finally:
        _CAUSE.reset(before)


def valid_traceparent(text: str) -> str:
    """Return a trace context of version 00 as it is (W3C Trace Context), and anything else as empty."""
    return text if _FORM.fullmatch(text) else ""
