"""The server's log: one line a fault, few where there are many, a trace for bugs alone."""

import logging

import pytest

from deltareg.api.log_lines import LogRateFilter
from deltareg.errors import DiskFull, Unavailable
from deltareg.wire import API


class Lines(logging.Handler):
    """Keeps what would be written."""

    def __init__(self, clock):
        super().__init__()
        self.written = []
        self.addFilter(LogRateFilter(period_s=10, clock=clock))

    def emit(self, record):
        self.written.append(self.format(record))


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def lines(now):
    handler = Lines(lambda: now[0])
    logger = logging.getLogger("deltareg.api.problems")
    pool = logging.getLogger("sqlalchemy.pool.impl")
    for each in (logger, pool):
        each.addHandler(handler)
    yield handler
    for each in (logger, pool):
        each.removeHandler(handler)


def answer_with(app, http, error):
    """Let a route of an app fail."""

    def fail():
        raise error

    app.add_api_route(f"{API}/fails", fail)
    return http.get("/fails", headers={"X-Request-Id": "r-1"})


def test_a_named_fault_is_one_line_with_the_request(local_registry, lines):
    http = local_registry.http(local_registry.token("read"))

    answered = answer_with(local_registry.app, http, DiskFull("the server's disk is full"))

    assert answered.status_code == 507
    assert lines.written == ["GET /api/v1/fails answered 507 disk_full: the server's disk is full request=r-1"]


def test_hundreds_of_faults_that_pass_are_a_line_now_and_then(local_registry, lines, now):
    http = local_registry.http(local_registry.token("read"))
    answered = answer_with(local_registry.app, http, Unavailable("the database is away"))
    for _ in range(99):
        http.get("/fails")
    now[0] = 11.0

    http.get("/fails", headers={"X-Request-Id": "r-2"})

    assert (answered.status_code, answered.headers["Retry-After"]) == (503, "1")
    assert len(lines.written) == 2
    assert lines.written[1].endswith("request=r-2 (and 99 more of these since the last line)")


def test_what_the_pool_says_of_broken_connections_has_no_trace(lines):
    logger = logging.getLogger("sqlalchemy.pool.impl.QueuePool")

    for _ in range(5):
        logger.error("Exception during reset or similar", exc_info=ConnectionError("gone"))

    assert lines.written == ["Exception during reset or similar"]
