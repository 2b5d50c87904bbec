"""What a server process holds that answers clients of the Hugging Face Hub as well."""

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
    """Give what the app holds that answers a request of such a client."""
    state = state_of(request)
    if not isinstance(state, HubState):
        raise TypeError("the app has nothing for clients of the Hub")
    return state


def _builds() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(_BUILDS)


@dataclass(slots=True, kw_only=True)
class HubState(AppState):
    """What is held for them beside all else.

    Attributes:
        hub_main: What `main` is for those that only read.
        hub_address: The address by which the server reaches itself, to push what they committed;
            None for the one that a request came in by, over plain http; empty where there is none.
        hub_builds: How many commits are built at once.
        hub_joins: How many files are put together at once.
        hub_turns: Whose turn it is to commit to a line.
        hub_places: Where files are sent from.
    """

    hub_main: BareName
    hub_address: str | None
    hub_builds: anyio.CapacityLimiter = field(default_factory=_builds)
    hub_joins: anyio.CapacityLimiter = field(default_factory=_builds)
    hub_turns: CommitLocks = field(default_factory=CommitLocks)
    hub_places: SendPool = field(default_factory=lambda: SendPool(cores()))
