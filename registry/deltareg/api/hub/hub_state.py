"""The state of a server process that also answers clients of the Hugging Face Hub."""

from dataclasses import dataclass, field

import anyio
from starlette.requests import Request

from deltareg.api.app_state import AppState, state_of
from deltareg.api.hub.sending import SendPool
from deltareg.api.hub.turns import CommitLocks
from deltareg.codec import cores
from deltareg.words import BareName

_BUILDS = 2


def hub_state_of(request: Request) -> "HubState":
    """Return the hub state of the app that answers a request."""
    state = state_of(request)
    if not isinstance(state, HubState):
        raise TypeError("the app has nothing for clients of the Hub")
    return state


def _builds() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(_BUILDS)


@dataclass(slots=True, kw_only=True)
class HubState(AppState):
    """The state for clients of the hub, beside all other state.

    Attributes:
        hub_main: What `main` means for clients that only read.
        hub_address: The address at which the server reaches itself, to push what they committed;
            None for the address of the request, over plain http; empty if there is none.
        hub_builds: Limits how many commits are built at once.
        hub_joins: Limits how many files are assembled at once.
        hub_turns: The locks by which commits to a line take turns.
        hub_places: The pool that sends files.
    """

    hub_main: BareName
    hub_address: str | None
    hub_builds: anyio.CapacityLimiter = field(default_factory=_builds)
    hub_joins: anyio.CapacityLimiter = field(default_factory=_builds)
    hub_turns: CommitLocks = field(default_factory=CommitLocks)
    hub_places: SendPool = field(default_factory=lambda: SendPool(cores()))
