"""A token for a worker in a pod, by what its cluster says of it: asked for when it is needed, kept in memory alone."""

import threading
import time
from collections.abc import Callable, Generator

from deltareg.client.assertions import PodSource
from deltareg.client.http.answers import read_problem
from deltareg.client.http.bounds import ask_whole
from deltareg.errors import DeltaregError, Misconfigured
from deltareg.host.lean_httpx import httpx
from deltareg.wire import API, PodEnrol, PodEnrolled

_PATH = f"{API}/workers:enrol"


class PodToken(httpx.Auth):
    """Authenticates requests with the token of a pod that was enrolled; threads may share it."""

    def __init__(
        self,
        source: PodSource,
        *,
        http: Callable[[], httpx.Client],
        refusal: DeltaregError | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is asked for before the first request.

        Args:
            source: The file of the assertion, and the key.
            http: Returns the client to ask with.
            refusal: Why nothing is sent to this server; None if it may be.
            clock: Returns seconds.
        """
        self._source, self._http, self._refusal, self._clock = source, http, refusal, clock
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = float("-inf")

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request with the token, and once more with a new one where the server knows it no more."""
        request.headers["Authorization"] = f"Bearer {self._current()}"
        response = yield request
        if response.status_code == int(httpx.codes.UNAUTHORIZED):
            self._renew_at = float("-inf")
            request.headers["Authorization"] = f"Bearer {self._current()}"
            yield request

    def _current(self) -> str:
        with self._lock:
            if self._clock() >= self._renew_at:
                given = self._enrol()
                self._token, self._renew_at = given.access_token, self._clock() + given.expires_in / 2
            return self._token

    def _enrol(self) -> PodEnrolled:
        """Ask for a token with what the cluster says now.

        Raises:
            DeltaregError: The server refuses it, or cannot answer now.
            Misconfigured: There is no such file.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            assertion = self._source.file.read_text().strip()
        except OSError as error:
            raise Misconfigured(
                f"{self._source.file} cannot be read: {error.strerror}", fix="mount a projected serviceAccountToken"
            ) from error
        asked = PodEnrol(assertion=assertion, key=str(self._source.key.public), signature="")
        signed = asked.model_copy(update={"signature": self._source.key.sign(asked.signed_bytes).hex()})
        response = ask_whole(self._http(), "POST", _PATH, json=signed.model_dump())
        if not response.is_success:
            raise read_problem(response)
        return PodEnrolled.model_validate_json(response.content)
