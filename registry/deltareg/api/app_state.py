"""What one server process holds, as one value that routes ask for by name and type."""

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
    """Give what the app holds that answers a request."""
    return state_of_app(request.app)


def state_of_app(app: Starlette) -> "AppState":
    """Give what an app holds."""
    state: object = app.state.server
    if not isinstance(state, AppState):
        raise TypeError("the app has no state")
    return state


@dataclass(slots=True, kw_only=True)
class AppState(SharedState):
    """What the API holds beside what pages share.

    Attributes:
        registry: The database and the store.
        store_kind: What kind of store it is, for `/meta`.
        lease_s: How long a lease lasts, seconds.
        room: The disks without which the server is not ready; None for none of its own.
        anonymous_reading: Whether what is public is read without a token.
        newest_event: The number of the newest event, looked at once for all readers.
        metrics: What is counted.
        body_limiter: How many bodies are taken at once.
    """

    registry: Registry
    store_kind: str
    lease_s: float
    room: DiskRoom | None
    anonymous_reading: bool
    newest_event: SharedLook[int]
    metrics: Metrics = field(default_factory=Metrics)
    body_limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_PARALLEL_BODIES))
