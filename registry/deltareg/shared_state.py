"""The state that the API and the pages of one server process share while it runs."""

from dataclasses import dataclass, field

from starlette.requests import Request

from deltareg.errors import Unavailable

READERS_MOST = 500
PRINCIPAL = "principal_id"
"""Where the state of a request holds its principal, once its token or session is checked."""
HOLDER = "holder"
"""Where it holds who holds the slots that it takes."""
REFUSED = "refused"
"""Where the state of a request for a page holds why it is turned away, for the page that says so."""


@dataclass(slots=True)
class StreamReaders:
    """Counts the readers of a process's streams."""

    number: int = 0

    def check_room(self) -> None:
        """Refuse a reader beyond the limit.

        Raises:
            Unavailable: There are already as many readers as allowed.
        """
        if self.number >= READERS_MOST:
            raise Unavailable(f"{READERS_MOST} streams are open on this server", fix="ask for pages, or come later")


@dataclass(slots=True, kw_only=True)
class SharedState:
    """The settings of a server process, and what changes while it serves.

    Attributes:
        upload_grace_s: How long an idle upload is kept by default, seconds.
        keep_deleted_s: How long a deleted version can be restored by default, seconds.
        keep_logs_s: How long the log of a run is kept after its end, seconds; None for ever.
        keep_forms_s: How long a stored form is kept after another replaced it, seconds.
        streams: The readers of the process's streams.
        is_closing: Once true, waiting requests are answered at once.
    """

    upload_grace_s: float
    keep_deleted_s: float
    keep_logs_s: float | None
    keep_forms_s: float
    streams: StreamReaders = field(default_factory=StreamReaders)
    is_closing: bool = False


def shared_state_of(request: Request) -> SharedState:
    """Return the state of the process that answers a request."""
    state: object = request.app.state.server
    if not isinstance(state, SharedState):
        raise TypeError("the app has no state")
    return state
