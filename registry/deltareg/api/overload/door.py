"""The door: what a request has to pass before anything is done for it, and what its answer says about that."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from starlette.types import Message, Scope, Send

from deltareg.api.overload.address import client_address
from deltareg.api.overload.known import KnownPrincipals, LiveTokens
from deltareg.api.overload.rates import Headers, Rates
from deltareg.api.overload.resting import Neighbours, RestingSlots
from deltareg.api.overload.slots import FairSlots
from deltareg.api.overload.traffic import Traffic, is_login, traffic_of
from deltareg.errors import DeltaregError, Unavailable
from deltareg.shared_state import HOLDER, PRINCIPAL

_LISTS, _CHANGES = 2, 16
_LISTS_WAIT_S, _CHANGES_WAIT_S = 5.0, 20.0


@dataclass(slots=True)
class Passage:
    """A request on its way through the door.

    Attributes:
        traffic: Its class.
        address: The address that it counts for; empty while its principal is known.
        credentials: Its `Authorization` header, or else its cookies; empty for none.
        has_token: Whether it has an `Authorization` header.
        is_login: Whether it is how somebody gets a token.
        headers: What its answer says about limits.
        refusal: Why it does not pass; None if it does.
        slots: The slots of which it holds one; None for none.
        holder: Who holds it.
    """

    traffic: Traffic
    address: str
    credentials: bytes = b""
    has_token: bool = False
    is_login: bool = False
    headers: Headers | None = None
    refusal: DeltaregError | None = None
    slots: FairSlots | None = None
    holder: int | str = ""

    def leave(self) -> None:
        """Give the slot back."""
        if self.slots is not None:
            self.slots.leave(self.holder)
            self.slots = None


class Door:
    """The limits of one server process; used on the event loop alone."""

    def __init__(
        self,
        read_live: Callable[[], Collection[str]],
        *,
        neighbours: Neighbours,
        requests_per_minute: int = 0,
        bad_tokens_per_minute: int = 0,
        proxies: int = 0,
    ) -> None:
        """Open the door.

        Args:
            read_live: Reads the hashes of all live tokens; may block.
            neighbours: Who works beside whom.
            requests_per_minute: How many requests one principal may send a minute; 0 for any number.
            bad_tokens_per_minute: How many bad tokens one address may; 0 for any number.
            proxies: How many proxies are in front of the server.
        """
        self._rates = Rates(requests_per_minute, bad_tokens=bad_tokens_per_minute)
        self._proxies = proxies
        self._known = KnownPrincipals()
        self._live = LiveTokens(read_live)
        self._neighbours = neighbours
        self._lists = RestingSlots(_LISTS, neighbours=neighbours, what="lists", patience_s=_LISTS_WAIT_S)
        self._changes = FairSlots(_CHANGES, what="requests", patience_s=_CHANGES_WAIT_S)

    async def enter(self, scope: Scope, fields: Mapping[bytes, bytes]) -> Passage:
        """Let a request in, after a wait if need be.

        Args:
            scope: The request.
            fields: Its headers by name.

        Returns:
            The request; with a refusal if it sent too much, or the server is too busy for it.
        """
        traffic = traffic_of(scope["method"], scope["path"], scope["query_string"])
        passage = Passage(traffic, "")
        if traffic == "health":
            return passage
        authorization = fields.get(b"authorization", b"")
        passage.credentials = authorization or fields.get(b"cookie", b"")
        passage.has_token = bool(authorization)
        passage.is_login = is_login(scope["method"], scope["path"])
        principal = self._known.principal_of(passage.credentials) if passage.credentials else None
        if principal is None or passage.is_login:
            passage.address = client_address(scope, proxies=self._proxies)
        if principal is None and (passage.has_token or passage.is_login):
            await self._check_address(passage)
            if passage.refusal is not None:
                return passage
        passage.headers, passage.refusal = self._rates.count(principal, passage.address)
        if passage.refusal is not None:
            return passage
        scope["state"][HOLDER] = passage.holder = passage.address if principal is None else principal
        await self._take_slot(passage)
        return passage

    async def _check_address(self, passage: Passage) -> None:
        """Refuse a token that is not known, once its address has sent many bad ones; a live one passes."""
        if not self._rates.has_spent_bad_tokens(passage.address):
            return
        if not passage.is_login and await self._live.has(passage.credentials):
            return
        passage.headers, passage.refusal = self._rates.refuse_bad_token(passage.address)

    async def _take_slot(self, passage: Passage) -> None:
        if passage.traffic != "list" and not passage.is_login:  # who logs in is the one who looks at pages next
            self._neighbours.note(passage.holder)
        slots = {"list": self._lists, "change": self._changes}.get(passage.traffic)
        if slots is None:
            return
        try:
            await slots.take(passage.holder)
        except Unavailable as error:
            passage.refusal = error
        else:
            passage.slots = slots

    def note(self, passage: Passage, scope: Scope, status: int) -> None:
        """Note what came of a request: whether its credentials are valid, and whose."""
        if passage.traffic == "health" or passage.refusal is not None:
            return
        if (status == 401 and passage.has_token) or (passage.is_login and 400 <= status < 500):
            self._known.forget(passage.credentials)
            self._rates.count_bad_token(passage.address or client_address(scope, proxies=self._proxies))
            return
        principal = scope.get("state", {}).get(PRINCIPAL)
        if passage.credentials and isinstance(principal, int) and principal:
            self._known.note(passage.credentials, principal)


def retry_after(error: DeltaregError) -> bytes:
    """Return the seconds after which a request may be sent again, as `Retry-After` has them."""
    wait_s = error.retry_after_s if isinstance(error, Unavailable) else 0.0
    return str(max(1, math.ceil(wait_s))).encode()


def on_its_way(passage: Passage, send: Send) -> Send:
    """Wrap what sends an answer: it says what is left, and the work counts as done once it begins."""

    async def send_with_limits(message: Message) -> None:
        if message["type"] == "http.response.start":
            passage.leave()
            said = list(passage.headers or ())
            if passage.refusal is not None:
                said.append((b"retry-after", retry_after(passage.refusal)))
            if said:
                message = {**message, "headers": [*message.get("headers", []), *said]}
        await send(message)

    return send_with_limits
