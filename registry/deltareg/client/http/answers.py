"""Reads HTTP answers: as a model, as the error that the server raised, or as an error of ours."""

import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from deltareg.client.http.patience import asked_pause_s, causes_of
from deltareg.client.http.tls_problems import describe_tls_problem
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
from deltareg.host.urls import split_url

Model = TypeVar("Model", bound=BaseModel)
_TEMPORARY = {429, 502, 503, 504}
_OF_UPLOADS = (BaseMismatch, IntegrityFailure)  # their codes are also those of single problems


def read_problem(response: httpx.Response) -> DeltaregError:
    """Turn an error answer into the exception that the server raised."""
    from deltareg.wire.problems import ProblemDocument  # what an answer without an error need not load

    try:
        problem = ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        text = f"answered {response.status_code} {response.reason_phrase}"
        if response.status_code in _TEMPORARY:
            return Unavailable(f"the server {text}", fix="try again")
        return InvalidInput(
            f"no Delta Registry is at {_place(response)}: it {text}",
            fix="check the address: deltareg config get server",
        )
    error_class = error_classes().get(problem.code)
    problems = [Problem(e.code, e.message, severity=e.severity, tensor=e.tensor, fix=e.fix) for e in problem.errors]
    if problems and error_class in {None, Refused, *_OF_UPLOADS}:
        return Refused(problems)
    if error_class is None or error_class is Refused:
        error_class = Unavailable if response.status_code in _TEMPORARY else DeltaregError
    if error_class is ApprovalDue:
        return ApprovalDue(problem.detail, fix=problem.fix, request=problem.request or 0)
    error = error_class.__new__(error_class)  # a class may ask for facts that the answer has in words only
    DeltaregError.__init__(error, problem.detail, fix=problem.fix, problems=problems)
    return error


def check_answer(response: httpx.Response) -> httpx.Response:
    """Return an answer unless it is an error.

    Raises:
        DeltaregError: The error that the server raised.
    """
    if not response.is_error:
        return response
    error = read_problem(response)
    if isinstance(error, Unavailable):
        error.retry_after_s = asked_pause_s(response.headers.get("Retry-After"))
    raise error


def store_failure(response: httpx.Response, path: str) -> DeltaregError:
    """Return the error for a refusal of the object store that the registry had redirected us to."""
    if response.status_code == 404:
        return BlobMissing(path.rpartition("/")[2])
    text = f"the store at {_origin(response.url)} answered {response.status_code} {response.reason_phrase}"
    return StoreUnavailable(text, fix="try again; compare the clocks of this machine and the store")


def read_answer(response: httpx.Response, model: type[Model]) -> Model:
    """Read an answer as a model.

    Raises:
        InvalidInput: The answer is something else.
    """
    try:
        return model.model_validate_json(response.content or b"null")
    except ValidationError as error:
        raise InvalidInput(
            "the server's answer is not what this client understands",
            fix="compare `deltareg version` here and on the server",
        ) from error


@contextmanager
def our_errors(server: str) -> Generator[None, None, None]:
    """Translate failures of a request into our errors, naming who did not answer.

    Raises:
        StoreUnavailable: The registry answered, but the store that it redirected us to did not.
        Unavailable: The registry did not answer, or broke off its answer.
    """
    try:
        yield
    except httpx.HTTPError as error:
        store = _store_of(error, server)
        if store:
            raise _no_store(error, store) from error
        raise _no_registry(error, server) from error


def _store_of(error: httpx.HTTPError, server: str) -> str:
    """Return the store that a request was redirected to; empty if it went to the registry."""
    try:
        at = error.request.url
    except RuntimeError:  # it failed before there was a request
        return ""
    home = httpx.URL(server)
    return "" if (at.host, at.port) == (home.host, home.port) else _origin(at)


def _no_store(error: httpx.HTTPError, store: str) -> StoreUnavailable:
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            message, fix = describe_tls_problem(cause, store)
            return StoreUnavailable(message.replace(store, f"the store at {store}", 1), fix=fix)
    match error:
        case httpx.ConnectError():
            message = f"the store at {store} does not answer"
        case httpx.TimeoutException():
            message = f"the store at {store} did not answer in time"
        case _:
            message = f"the connection to the store at {store} failed: {error}"
    return StoreUnavailable(message, fix="what was pulled before needs no store; otherwise try again later")


def _no_registry(error: httpx.HTTPError, server: str) -> Unavailable:
    if isinstance(error, httpx.TimeoutException):
        return Unavailable(f"{server} did not answer in time", fix="try again, or --timeout")
    if not isinstance(error, httpx.ConnectError):
        fix = "try again; if it serves TLS, write https://" if server.startswith("http://") else "try again"
        return Unavailable(f"the connection to {server} failed: {error}", fix=fix)
    for cause in causes_of(error):
        match cause:
            case ssl.SSLError():
                message, fix = describe_tls_problem(cause, server)
                return Unavailable(message, fix=fix)
            case socket.gaierror():
                host = split_url(server).hostname
                return Unavailable(f"no machine is called {host}", fix="check the address: deltareg config get server")
            case _:
                pass
    return Unavailable(
        f"no registry answers at {server}", fix="start one with `deltareg up`, or name another: --server URL"
    )


def _place(response: httpx.Response) -> str:
    try:
        return _origin(response.url)
    except RuntimeError:  # an answer without its request
        return "this address"


def _origin(url: httpx.URL) -> str:
    """Return a URL's scheme and host, without the parts that may be signed."""
    return f"{url.scheme}://{url.netloc.decode()}"
