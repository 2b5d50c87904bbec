"""HTTP to a registry: tokens, retries, and errors turned back into ours."""

import os
import ssl
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from deltareg.client.config import DEFAULT_PATIENCE_S, ClientConfig
from deltareg.client.http.answers import check_answer, our_errors, read_answer, store_failure
from deltareg.client.http.bounds import ENCODINGS, check_encoding, limit_heads, read_chunks, read_whole
from deltareg.client.http.patience import RetryPolicy
from deltareg.client.progress import SILENT, Progress
from deltareg.client.token_reach import why_not_exchanged, why_withheld
from deltareg.errors import DeltaregError, IntegrityFailure, InvalidInput, Misconfigured
from deltareg.host.causes import current_cause
from deltareg.host.lean_httpx import httpx
from deltareg.host.token_files import is_here
from deltareg.wire.interface import API

if TYPE_CHECKING:
    from deltareg.client.http.exchange import ExchangedToken
    from deltareg.client.http.pod_token import PodToken

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")
_BODY_TIMEOUT_S = 120.0


@cache
def _load_certificates() -> ssl.SSLContext:
    """Read the trusted certificates once per process: it takes 30 ms.

    Raises:
        Misconfigured: The environment names a file of certificates that holds none.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured(
            f"the certificates to trust cannot be read from {_named_trust()}: {error.strerror or error}",
            fix="let SSL_CERT_FILE name a file of certificates in PEM, or unset it",
        ) from error


def _named_trust() -> str:
    return " and ".join(os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name))


class _LateTrust(ssl.SSLContext):
    """Reads those certificates when a connection needs them; it trusts nothing by itself."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:  # noqa: ANN401  # as above
        return _load_certificates().wrap_socket(*args, **options)

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401  # as above
        return _load_certificates().wrap_bio(*args, **options)


class Api:
    """One server, as one client sees it; safe to use from several threads."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        transport: httpx.BaseTransport | None = None,
        progress: Progress = SILENT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; the first request opens a connection.

        Args:
            config: The settings: where the server is and how patient to be.
            transport: A replacement for the network connection, for tests.
            progress: Told when an answer takes long.
            sleep: Waits a number of seconds between tries.
        """
        headers = {"User-Agent": "deltareg", "Accept-Encoding": ENCODINGS}
        self._refusal = why_withheld(config)
        if config.token and self._refusal is None:
            headers["Authorization"] = f"Bearer {_printable(config.token)}"
        self._config = config
        self._patience = RetryPolicy(
            retries=config.retries,
            window_s=config.patience_s,
            is_here=is_here(config.server) and config.patience_s == DEFAULT_PATIENCE_S,
            progress=progress,
            sleep=sleep,
        )
        self._http = httpx.Client(
            base_url=config.server,
            headers=headers,
            auth=self._open_exchange(config),
            transport=transport,
            verify=_LateTrust(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx.Timeout(config.timeout_s, read=max(config.timeout_s, _BODY_TIMEOUT_S)),
        )
        self._within_s = max(config.timeout_s, _BODY_TIMEOUT_S)
        limit_heads(self._http, self._within_s)

    def _open_exchange(self, config: ClientConfig) -> "ExchangedToken | PodToken | None":
        """Return what gets a token for the job or the pod that this runs in; None where there is one, or neither."""
        if config.pod is not None:
            from deltareg.client.http.pod_token import PodToken  # what workers in pods alone load

            return PodToken(config.pod, http=lambda: self._http, refusal=why_not_exchanged(config))
        if config.assertions is None or config.token:
            return None
        from deltareg.client.http.exchange import ExchangedToken  # what nobody outside of a CI need load

        refusal = why_not_exchanged(config)
        return ExchangedToken(config.assertions, config.server, http=lambda: self._http, refusal=refusal)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def get(self, path: str, model: type[Model], **query: str | float | bool | None) -> Model:
        """Send a GET request and read the answer as a model."""
        return self.request("GET", path, model, query=query)

    def post(
        self, path: str, body: BaseModel | None, model: type[Model], *, headers: Mapping[str, str] | None = None
    ) -> Model:
        """Send a POST request and read the answer; the server makes it safe to repeat."""
        return self.request("POST", path, model, body=body, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        model: type[Model],
        *,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | float | bool | Sequence[str] | None] | None = None,
    ) -> Model:
        """Send a request and read the answer as a model.

        Raises:
            DeltaregError: The server's error, or `Unavailable` if it did not answer.
        """
        response = self.send(method, path, body=body, headers=headers, query=query)
        return read_answer(response, model)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | float | bool | Sequence[str] | None] | None = None,
        is_patient: bool = True,
    ) -> httpx.Response:
        """Send a request, retry after failures that may pass, and return the whole answer.

        Callers that ask again in a loop of their own are not patient: they need to learn soon that
        the server is away, to report it and to go on with what they have.
        """
        # What is at its default is not sent: an older server refuses fields that it does not know.
        content = None if body is None else body.model_dump_json(exclude_defaults=True).encode()
        all_headers = dict(headers or {})
        if content is not None:
            all_headers["Content-Type"] = "application/json"
        params = {key: _text(value) for key, value in (query or {}).items() if value is not None}

        self._check_token()

        def once() -> httpx.Response:
            with self._watch_answer(is_quiet="wait" in params):
                response = self._ask(
                    method, API + path, content=content, params=params, headers=all_headers | self._request_id()
                )
            return check_answer(response)

        return self._patience.run(lambda: self._at_once(once), is_hasty=not is_patient)

    def upload(self, path: str, data: memoryview, *, digest: str, meter: Callable[[int], None]) -> None:
        """Upload one pack; a failed try starts over under a fresh key of the server's."""

        def once() -> None:
            headers = {
                "X-Content-Digest": digest,
                "Content-Length": str(data.nbytes),
                "Content-Type": "application/octet-stream",
                **self._request_id(),
            }
            sent_bytes = 0

            def body(has_moved: Callable[[], None]) -> Iterator[bytes]:
                nonlocal sent_bytes
                for begin in range(0, data.nbytes, 1 << 20):
                    chunk = bytes(data[begin : begin + (1 << 20)])
                    yield chunk
                    has_moved()
                    sent_bytes += len(chunk)
                    meter(len(chunk))

            try:
                with self._watch_answer() as has_moved:
                    response = self._ask("PUT", API + path, content=body(has_moved), headers=headers)
                check_answer(response)
            except BaseException:
                meter(-sent_bytes)
                raise

        self.patiently(once)

    @contextmanager
    def download(
        self, path: str, *, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Generator[httpx.Response, None, None]:
        """Open a streamed answer; the caller reads it inside the block and does its own retries."""
        server = self._config.server
        request = self._http.build_request("GET", API + path, params=dict(query), headers=dict(headers or {}))
        with our_errors(server), closing(self._open(request, may_leave=True)) as response:
            if response.status_code == 416:
                raise IntegrityFailure(
                    f"{path.rpartition('/')[2]} is shorter in the store than it was",
                    fix="push the same folder again, or ask for `deltareg fsck --repair`",
                )
            if response.is_error:
                problem = read_whole(response, within_s=self._within_s)
                if response.request is not request:  # it was not the registry that answered
                    raise store_failure(response, path)
                check_answer(problem)
            yield response

    def read(self, response: httpx.Response, *, most: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a streamed answer, with a limit on how slowly they come.

        Args:
            response: A streamed answer.
            most: How many there may be; None where the caller counts.
        """
        return read_chunks(response, most=most, within_s=self._within_s)

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401  # as in the library
        """Send one request to the registry itself, and read its whole answer."""
        auth = {"auth": options.pop("auth")} if "auth" in options else {}
        request = self._http.build_request(method, path, **options)
        with closing(self._open(request, **auth)) as response:
            return read_whole(response, within_s=self._within_s)

    def _open(self, request: httpx.Request, *, may_leave: bool = False, **options: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request, and return the answer, still to be read and closed; it may come from where it was sent on."""
        response = self._http.send(request, stream=True, follow_redirects=False, **options)
        following = response.next_request
        if following is not None:
            from deltareg.client.http.hops import follow_hops  # what only packs in a store need

            response.close()
            response = follow_hops(self._http, following, self._config.server, may_leave=may_leave, **options)
        try:
            check_encoding(response)
        except BaseException:
            response.close()
            raise
        return response

    def is_ready(self) -> bool:
        """Whether the server answers and is ready."""
        try:
            return self._ask("GET", "/readyz", auth=None).is_success
        except (httpx.HTTPError, DeltaregError):
            return False

    def patiently(self, act: Callable[[], T]) -> T:
        """Run something again after failures that may pass, with growing pauses."""
        return self._patience.run(lambda: self._at_once(act))

    def _at_once(self, act: Callable[[], T]) -> T:
        with our_errors(self._config.server):
            return act()

    def _check_token(self) -> None:
        """Refuse to ask a server that the token is not for; it would only say that it is missing.

        Raises:
            Misconfigured: It says what to do.
        """
        if self._refusal is not None:
            raise self._refusal

    def _watch_answer(self, *, is_quiet: bool = False) -> AbstractContextManager[Callable[[], None]]:
        """Show what is waited for if it takes long, except for requests that are meant to."""
        if is_quiet:
            return nullcontext(lambda: None)
        return self._patience.watch(f"{self._config.server} has not answered")

    def _request_id(self) -> dict[str, str]:
        """Return the headers by which the server's log and traces name what this is for."""
        cause = current_cause()
        sent = {"X-Request-Id": cause.request_id or self._config.request_id or uuid.uuid4().hex}
        return sent | {"traceparent": cause.traceparent} if cause.traceparent else sent


def _printable(token: str) -> str:
    """Check a token before the HTTP library does, which would quote it in its error."""
    text = token.strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput("the token is not one line of letters, digits and _", fix="copy it once more")
    return text


def _text(value: str | float | bool | Sequence[str]) -> str | list[str]:  # noqa: FBT001  # a value of a query
    if isinstance(value, bool):
        return str(value).lower()
    return list(value) if isinstance(value, list | tuple) else str(value)
