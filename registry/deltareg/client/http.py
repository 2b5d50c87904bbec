"""Speaking HTTP to a registry: tokens, retries, errors turned back into ours."""

import random
import ssl
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from deltareg.client.config import ClientConfig
from deltareg.errors import (
    ApprovalDue,
    BaseMismatch,
    BlobMissing,
    DeltaregError,
    IntegrityFailure,
    InvalidInput,
    Problem,
    Refused,
    StoreUnavailable,
    Unavailable,
    error_classes,
)
from deltareg.host.lean_httpx import httpx
from deltareg.wire import API, ProblemDocument

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_BODY_TIMEOUT_S = 120.0
_TEMPORARY = {429, 502, 503, 504}
_OF_UPLOADS = (BaseMismatch, IntegrityFailure)  # their codes are also those of single problems


@cache
def _trusted() -> ssl.SSLContext:
    """Read the certificates to trust once a process: it takes 30 ms."""
    return httpx.create_ssl_context()


class _LateTrust(ssl.SSLContext):
    """Has those certificates read when a connection needs them; it trusts nobody by itself."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:  # noqa: ANN401  # as above
        return _trusted().wrap_socket(*args, **options)

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401  # as above
        return _trusted().wrap_bio(*args, **options)


class Api:
    """One server, as seen by one client; safe to use from several threads."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; the first request opens a connection.

        Args:
            config: Where the server is and how patient to be.
            transport: Another way to reach an app than a socket, for tests.
            sleep: Waits so many seconds between tries.
        """
        headers = {"User-Agent": "deltareg"}
        if config.token:
            headers["Authorization"] = f"Bearer {_printable(config.token)}"
        self._config = config
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=config.server, headers=headers, follow_redirects=True, transport=transport,
            verify=_LateTrust(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx.Timeout(config.timeout_s, read=max(config.timeout_s, _BODY_TIMEOUT_S)),
        )  # fmt: skip

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def get(self, path: str, model: type[Model], **query: str | float | bool | None) -> Model:
        """Read one thing."""
        return self.request("GET", path, model, query=query)

    def post(
        self,
        path: str,
        body: BaseModel | None,
        model: type[Model],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Model:
        """Ask for something to be done; the server makes it safe to ask twice."""
        return self.request("POST", path, model, body=body, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        model: type[Model],
        *,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | float | bool | None] | None = None,
    ) -> Model:
        """Send a request and read the answer as a model.

        Raises:
            DeltaregError: What the server answered, or `Unavailable` when it did not.
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
        query: Mapping[str, str | float | bool | None] | None = None,
    ) -> httpx.Response:
        """Send a request, again after a failure that may pass, and give the whole answer."""
        content = None if body is None else body.model_dump_json(exclude_unset=False).encode()
        sent = dict(headers or {})
        if content is not None:
            sent["Content-Type"] = "application/json"
        params = {key: _text(value) for key, value in (query or {}).items() if value is not None}

        def once() -> httpx.Response:
            response = self._http.request(
                method, API + path, content=content, params=params,
                headers=sent | self._request_id(),
            )  # fmt: skip
            return _checked(response)

        return self.patiently(once)

    def upload(
        self, path: str, data: memoryview, *, digest: str, meter: Callable[[int], None]
    ) -> None:
        """Send one pack; a try that fails starts over under a fresh key of the server's."""

        def once() -> None:
            headers = {
                "X-Content-Digest": digest, "Content-Length": str(data.nbytes),
                "Content-Type": "application/octet-stream", **self._request_id(),
            }  # fmt: skip
            sent = 0

            def body() -> Iterator[bytes]:
                nonlocal sent
                for begin in range(0, data.nbytes, 1 << 20):
                    chunk = bytes(data[begin : begin + (1 << 20)])
                    yield chunk
                    sent += len(chunk)
                    meter(len(chunk))

            try:
                _checked(self._http.put(API + path, content=body(), headers=headers))
            except BaseException:
                meter(-sent)
                raise

        self.patiently(once)

    @contextmanager
    def download(
        self, path: str, *, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Generator[httpx.Response, None, None]:
        """Open a streamed answer; the caller reads it inside the block and retries by itself."""
        with (
            _ours(self._config.server),
            self._http.stream(
                "GET", API + path, params=dict(query), headers=dict(headers or {})
            ) as response,
        ):
            if response.status_code == 416:
                raise IntegrityFailure(
                    f"{path.rpartition('/')[2]} is shorter in the store than it was",
                    fix="ask for `deltareg fsck`",
                )
            if response.is_error:
                response.read()
                if response.history:  # it was not the registry that answered
                    raise _of_the_store(response, path)
            yield _checked(response)

    def is_ready(self) -> bool:
        """Whether the server answers and is ready."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def patiently(self, act: Callable[[], T]) -> T:
        """Run something again after failures that may pass, with growing pauses."""
        pause_s = _FIRST_PAUSE_S
        for attempt in range(self._config.retries + 1):
            try:
                with _ours(self._config.server):
                    return act()
            except DeltaregError as error:
                is_last = attempt == self._config.retries
                if is_last or not isinstance(error, Unavailable) or _nobody_listens(error):
                    raise
            self._sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError("retries must not be negative")

    def _request_id(self) -> dict[str, str]:
        return {"X-Request-Id": self._config.request_id or uuid.uuid4().hex}


def read_problem(response: httpx.Response) -> DeltaregError:
    """Turn an error answer into the exception that the server raised."""
    try:
        problem = ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        text = f"the server answered {response.status_code} {response.reason_phrase}"
        if response.status_code in _TEMPORARY:
            return Unavailable(text, fix="try again")
        return InvalidInput(text, fix="is this address a Delta Registry server?")
    known = error_classes().get(problem.code)
    problems = [
        Problem(e.code, e.message, severity=e.severity, tensor=e.tensor, fix=e.fix)
        for e in problem.errors
    ]
    if problems and known in {None, Refused, *_OF_UPLOADS}:
        return Refused(problems)
    if known is None or known is Refused:
        known = Unavailable if response.status_code in _TEMPORARY else DeltaregError
    if known is ApprovalDue:
        return ApprovalDue(problem.detail, fix=problem.fix, request=problem.request or 0)
    error = known.__new__(known)  # a class may ask for facts that the answer has in words only
    DeltaregError.__init__(error, problem.detail, fix=problem.fix, problems=problems)
    return error


def _of_the_store(response: httpx.Response, path: str) -> DeltaregError:
    if response.status_code == 404:
        return BlobMissing(path.rpartition("/")[2])
    text = f"the object store answered {response.status_code} {response.reason_phrase}"
    return Unavailable(text, fix="try again; compare the clocks of this machine and the store")


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise read_problem(response)
    return response


def read_answer(response: httpx.Response, model: type[Model]) -> Model:
    """Read an answer as a model.

    Raises:
        InvalidInput: It is something else.
    """
    try:
        return model.model_validate_json(response.content or b"null")
    except ValidationError as error:
        raise InvalidInput(
            "the server's answer is not what this client understands",
            fix="compare `deltareg version` here and on the server",
        ) from error


@contextmanager
def _ours(server: str) -> Generator[None, None, None]:
    try:
        yield
    except httpx.ConnectError as error:
        at = error.request.url
        if (at.host, at.port) != (httpx.URL(server).host, httpx.URL(server).port):
            raise StoreUnavailable(  # the registry answered, and sent us there
                f"the store at {at.scheme}://{at.netloc.decode()} does not answer",
                fix="what was pulled before needs no store; otherwise try again later",
            ) from error
        raise Unavailable(
            f"no registry answers at {server}",
            fix="start one with `deltareg up`, or name another: --server URL",
        ) from error
    except httpx.TimeoutException as error:
        raise Unavailable(
            f"{server} did not answer in time", fix="try again, or --timeout"
        ) from error
    except httpx.HTTPError as error:
        raise Unavailable(f"the connection to {server} failed: {error}", fix="try again") from error


def _nobody_listens(error: DeltaregError) -> bool:
    """Whether nothing listens there at all, which patience does not change for a person."""
    is_store = isinstance(error, StoreUnavailable)
    return isinstance(error.__cause__, httpx.ConnectError) and not is_store


def _printable(token: str) -> str:
    """Check a token before the HTTP library does, which would quote it in its complaint."""
    text = token.strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput(
            "the token is not one line of letters, digits and _", fix="copy it once more"
        )
    return text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
