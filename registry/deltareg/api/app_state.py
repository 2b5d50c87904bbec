"""The state of one server process, as one value that routes read by name and type."""

from dataclasses import dataclass, field

import anyio
from starlette.applications import Starlette
from starlette.requests import Request

from deltareg.api.health_checks import HealthChecks
from deltareg.api.overload.resting import Neighbours, RestingSlots
from deltareg.api.overload.slots import FairSlots
from deltareg.service.registry import Registry
from deltareg.shared_state import SharedState
from deltareg.streaming import SharedLook

_PARALLEL_BODIES = 32
_BODY_WAIT_S = 60.0
_DOCUMENTS_AT_ONCE_BYTES = 64 << 20
_DOCUMENT_WAIT_S = 60.0


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
        anonymous_reading: Whether anybody may read public content without a token.
        newest_event: The number of the newest event, read once for all readers.
        health: What probes ask, which waits for nothing that others hold.
        bodies: The slots for receiving bodies of packs and files.
        body_limiter: The threads that receive them.
        neighbours: Who works beside whom.
        documents: The slots for reading long documents, one a byte.
        document_bytes: The longest document that is taken.
        proxies: How many proxies are in front of the server.
    """

    registry: Registry
    store_kind: str
    lease_s: float
    anonymous_reading: bool
    newest_event: SharedLook[int]
    health: HealthChecks
    document_bytes: int
    proxies: int = 0
    bodies: FairSlots = field(
        default_factory=lambda: FairSlots(_PARALLEL_BODIES, what="uploads", patience_s=_BODY_WAIT_S)
    )
    body_limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_PARALLEL_BODIES))
    neighbours: Neighbours = field(default_factory=Neighbours)
    documents: FairSlots = field(init=False)

    def __post_init__(self) -> None:
        """Make the slots for long documents, which rest for the sake of others."""
        self.documents = RestingSlots(
            _DOCUMENTS_AT_ONCE_BYTES,
            neighbours=self.neighbours,
            what="long documents",
            patience_s=_DOCUMENT_WAIT_S,
            may_hold_all=True,
        )
