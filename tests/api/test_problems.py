"""Whatever goes wrong is told as a problem document, and a bug tells nothing of itself."""

import json
import logging

import httpx
import pytest
from fastapi import FastAPI

from deltareg import errors
from deltareg.api import problems
from deltareg.api.middleware import RequestContext
from deltareg.api.observability.metrics import Metrics
from deltareg.api.observability.observer import RequestObserver
from deltareg.api.overload.door import Door
from deltareg.api.overload.resting import Neighbours
from deltareg.client.http.answers import read_problem
from deltareg.errors import DeltaregError, Problem, Refused, error_classes
from deltareg.wire import ProblemDocument, status_of
from tests.fixtures.registries import SCOPES, serving

CLASSES = sorted(error_classes().values(), key=lambda cls: cls.__name__)


def made(cls):
    """Make an error of a class, with the facts that the class asks for."""
    if cls is Refused:
        return Refused([Problem("shape", "too wide", tensor="a.b", fix="cut it")])
    if cls is errors.BlobMissing:
        return errors.BlobMissing("blobs/x/y")
    return cls("what is wrong", fix="what to do")


@pytest.fixture(scope="module")
def failing():
    """Serve an app whose routes fail, each in its own way."""
    app = FastAPI()
    problems.install(app)
    app.add_middleware(
        RequestContext,
        observer=RequestObserver(Metrics()),
        allowed_hosts=["127.0.0.1"],
        is_live=bool,
        door=Door(frozenset, neighbours=Neighbours()),
        document_bytes=1 << 20,
    )

    @app.get("/errors/{name}")
    def fail(name: str) -> None:
        raise made(next(cls for cls in CLASSES if cls.__name__ == name))

    @app.get("/bug")
    def bug() -> None:
        raise ZeroDivisionError("secret of the inside")

    with serving(app) as url, httpx.Client(base_url=url) as client:
        yield client


def document(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = ProblemDocument.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    assert problem.request_id == answer.headers["X-Request-Id"]
    assert problem.title
    assert problem.detail
    return problem


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_crosses_the_wire_and_back(failing, cls):
    error = made(cls)

    answer = failing.get(f"/errors/{cls.__name__}")

    problem = document(answer)
    assert problem.code == getattr(error, "problem_code", error.code)
    assert answer.status_code == status_of(error)
    assert problem.retryable == error.retryable
    assert problem.docs == f"deltareg explain {problem.code}"
    assert (answer.status_code in {429, 503}) == ("Retry-After" in answer.headers)
    if answer.is_error:
        back = read_problem(answer)
        assert (type(back), back.message, back.fix) == (cls, error.message, error.fix)
        assert getattr(back, "problems", ()) == getattr(error, "problems", ())


def test_a_bug_is_told_without_its_inside(failing, caplog):
    logging.getLogger("uvicorn.error").propagate = False

    answer = failing.get("/bug")

    problem = ProblemDocument.model_validate_json(answer.content)
    assert (answer.status_code, problem.code) == (500, "internal")
    assert problem.request_id
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("PURGE", "/api/v1/bases", 405, "invalid_input"),
        ("PATCH", "/api/v1/bases/tinyllama", 405, "invalid_input"),
        ("GET", "/api/v1/bases/absent", 404, "not_found"),
        ("GET", "/api/v1/runs?state=odd", 422, "invalid_input"),
        ("GET", "/api/v1/deltas/team/lora/versions/x", 422, "invalid_input"),
        ("GET", "/api/v1/deltas/team/lora/channels/absent", 404, "not_found"),
        ("GET", "/api/v1/resolve?ref=a/b@c@d", 422, "invalid_input"),
        ("GET", "/api/v1/deltas/team/lora/channels/prod?at=yesterday", 422, "invalid_input"),
        ("GET", "/api/v1/deltas/team/lora/channels/prod?at=2001-01-01", 404, "not_found"),
        ("POST", "/api/v1/runs", 422, "invalid_input"),
    ],
)
def test_requests_that_do_not_fit(shared_registry, method, path, status, code):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    answer = http.request(method, shared_registry.url + path)

    problem = document(answer)
    assert (answer.status_code, problem.code) == (status, code)


def test_a_field_that_does_not_exist_is_named(shared_registry):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    answer = http.post("/runs", json={"ref": "team/lora", "suit": "smoke"})

    problem = document(answer)
    assert "suit" in problem.detail
    assert [error.code for error in problem.errors] == ["invalid_input"]
    assert type(read_problem(answer)) is errors.InvalidInput


@pytest.mark.parametrize("given", ["abc-1", "x" * 64])
def test_a_request_keeps_the_id_that_it_came_with(shared_registry, given):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    answer = http.get("/bases/absent", headers={"X-Request-Id": given})

    assert document(answer).request_id == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é", "<script>"])
def test_an_odd_id_is_replaced(shared_registry, given):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    answer = http.get("/bases/absent", headers={"X-Request-Id": given.encode("latin-1")})

    assert document(answer).request_id not in {given, ""}


def test_an_unknown_problem_is_still_an_error():
    unknown = {"type": "x", "title": "x", "status": 418, "detail": "odd", "code": "teapot"}

    back = read_problem(httpx.Response(418, content=json.dumps(unknown)))

    assert type(back) is DeltaregError
    assert back.message == "odd"


@pytest.mark.parametrize(
    ("status", "expected"), [(502, errors.Unavailable), (503, errors.Unavailable), (404, errors.InvalidInput)]
)
def test_an_answer_of_something_else_is_told_as_such(status, expected):
    back = read_problem(httpx.Response(status, content=b"<html>a proxy</html>"))

    assert type(back) is expected
