"""The state of one server process, as one value that routes read by name and type."""

from dataclasses import dataclass, field

import anyio
from starlette.applications import Starlette
from starlette.requests import Request

from deltareg.api.metrics import Metrics
from deltareg.api.room import DiskRoom
from deltareg.service.registry import Registry
from deltareg.shared_state import SharedState
from deltareg.streaming import SharedLook

_PARALLEL_BODIES = 32


def state_of(request: Request) -> "AppState":
    """Return the state of the app that answers a request."""
    return state_of_app(request.app)


def state_of_app(app: Starlette) -> "AppState":
    """Return the state of an app."""
    state: object = app.state.server
    if not isinstance(state, AppState):
        raise TypeError("the app has no state")
    return state


@dataclass(slots=True, kw_only=True)
class AppState(SharedState):
    """The state of the API, beside what it shares with the pages.

    Attributes:
        registry: The database and the store.
        store_kind: The kind of the store, for `/meta`.
        lease_s: How long a lease lasts, seconds.
        room: The server's own disks, which need room for it to be ready; None if it has none.
        anonymous_reading: Whether anybody may read public content without a token.
        newest_event: The number of the newest event, read once for all readers.
        metrics: The counters.
        body_limiter: Limits how many bodies are received at once.
    """

    registry: Registry
    store_kind: str
    lease_s: float
    room: DiskRoom | None
    anonymous_reading: bool
    newest_event: SharedLook[int]
    metrics: Metrics = field(default_factory=Metrics)
    body_limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_PARALLEL_BODIES))
