"""A token for a job without a stored secret: asked for when it is needed, kept in memory alone.

The audience of an assertion is the address that this client's user gave, never what a server says of
itself. So what another server is told is of no use here.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator

from deltareg.client.assertions import AssertionSource
from deltareg.client.http.answers import read_problem
from deltareg.client.http.bounds import ask_whole
from deltareg.documents.json_values import is_object
from deltareg.errors import DeltaregError, InvalidInput, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.wire import API, TokenExchanged

_PATH = f"{API}/tokens:exchange"
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105  # a type, no secret
_EARLY_S = 120.0
"""How long before its end a token is exchanged anew."""
_NOT_OFFERED = {404, 405, 401}
"""What a server answers that knows no exchange."""
_USED = "invalid_grant"


class ExchangedToken(httpx.Auth):
    """Authenticates requests with a token that an assertion was exchanged for; threads may share it."""

    def __init__(
        self,
        source: AssertionSource,
        server: str,
        *,
        http: Callable[[], httpx.Client],
        refusal: DeltaregError | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is asked for before the first request.

        Args:
            source: Where assertions come from.
            server: The registry's address, which is the audience.
            http: Returns the client to ask with.
            refusal: Why nothing is exchanged with this server; None if it may be.
            clock: Returns seconds.
        """
        self._source, self._server, self._http, self._clock = source, server, http, clock
        self._lock = threading.Lock()
        self._ready = list(source.ready)
        self._token = ""
        self._renew_at = float("-inf") if refusal is None else float("inf")
        self._refusal = refusal

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request with the token; where there is none, say why only if the server wants one."""
        token = self._current()
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == int(httpx.codes.UNAUTHORIZED) and self._refusal is not None:
            raise self._refusal

    def _current(self) -> str:
        with self._lock:
            if self._clock() >= self._renew_at:
                self._renew_at = float("inf")  # a refusal stays one
                try:
                    self._exchange()
                except BaseException:
                    self._renew_at = float("-inf")  # nobody answered: the next request tries again
                    raise
            return self._token

    def _exchange(self) -> None:
        """Exchange the first assertion that was not used before.

        Raises:
            Unavailable: The server or the CI does not answer now.
        """
        for assertion in self._assertions():
            form = {"grant_type": _GRANT, "subject_token": assertion, "subject_token_type": _ID_TOKEN}
            if self._source.trust:
                form["trust"] = self._source.trust
            response = ask_whole(self._http(), "POST", _PATH, data=form)
            if response.is_success:
                given = TokenExchanged.model_validate_json(response.content)
                self._token, self._refusal = given.access_token, None
                self._renew_at = self._clock() + max(given.expires_in - _EARLY_S, given.expires_in / 2)
                return
            if response.status_code in _NOT_OFFERED:
                return
            self._refusal = read_problem(response)
            if isinstance(self._refusal, Unavailable):
                raise self._refusal
            if _error_of(response) != _USED:
                return

    def _assertions(self) -> Iterator[str]:
        if self._source.url:
            yield self._ask_github()
        while self._ready:
            yield self._ready[0]
            self._ready.pop(0)  # it was refused; one that was used is refused when it is tried again

    def _ask_github(self) -> str:
        url = httpx.URL(self._source.url).copy_merge_params({"audience": self._server})
        headers = {"Authorization": f"Bearer {self._source.secret}", "Accept": "application/json"}
        response = ask_whole(self._http(), "GET", url, headers=headers)
        if not response.is_success:
            raise Unavailable(f"GitHub gives no ID token: it answers {response.status_code}", fix="run the job again")
        try:
            value = response.json()["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput("GitHub gives no ID token", fix="permissions: id-token: write") from error
        return str(value)


def _error_of(response: httpx.Response) -> object:
    try:
        document: object = response.json()
    except ValueError:
        return None
    return document.get("error") if is_object(document) else None
