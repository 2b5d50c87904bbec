"""When a request is sent again, and for how long: on a clock of the test's own."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from deltareg.client.http import patience
from deltareg.client.http.answers import our_errors
from deltareg.client.http.patience import RetryPolicy, asked_pause_s
from deltareg.errors import Conflict, StoreUnavailable, Unavailable
from tests.fixtures.processes import until

SERVER = "http://registry.example"


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self):
        self.now = 100.0
        self.pauses = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


class Watched:
    """Progress that remembers what was said; it is its own meter."""

    def __init__(self):
        self.said, self.closed = [], 0

    def task(self, label, total_bytes):
        return self

    def add(self, size_bytes): ...

    def count_moved(self, size_bytes): ...

    def note(self, text):
        self.said.append(text)

    def close(self):
        self.closed += 1


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress():
    return Watched()


def patient(clock, progress, *, retries=5, window_s=30.0):
    return RetryPolicy(retries=retries, window_s=window_s, progress=progress, sleep=clock.sleep, clock=clock)


class failing:  # noqa: N801  # reads as what it does
    """Fails so often, with an error that is made anew by a function, and then succeeds."""

    def __init__(self, error, *, times=10**6):
        self._error, self._times = error, times
        self.tries: list[None] = []

    def __call__(self):
        self.tries.append(None)
        if len(self.tries) <= self._times:
            raise self._error()
        return "done"


def of_network(cause, url=SERVER + "/api/v1/meta"):
    """Make what the client raises when the network does something."""

    def make():
        request = httpx.Request("GET", url)
        try:
            with our_errors(SERVER):
                try:
                    raise cause
                except OSError as error:
                    raise httpx.ConnectError(str(error), request=request) from error
        except Unavailable as error:
            return error

    return make


REFUSED = ConnectionRefusedError(111, "Connection refused")


def test_a_server_that_comes_back_within_the_window_is_no_failure(clock, progress):
    act = failing(of_network(REFUSED), times=25)

    assert patient(clock, progress).run(act) == "done"
    assert 10 < clock.now - 100 < 30


def test_where_nothing_listens_on_this_machine_it_ends_soon(clock, progress):
    here = RetryPolicy(retries=5, window_s=30.0, is_here=True, progress=progress, sleep=clock.sleep, clock=clock)

    with pytest.raises(Unavailable, match="no registry answers"):
        here.run(failing(of_network(REFUSED)))
    assert clock.now - 100 < 4

    here.run(lambda: "done")  # one that answered is being restarted
    assert here.run(failing(of_network(REFUSED), times=25)) == "done"


def test_the_window_ends(clock, progress):
    act = failing(of_network(REFUSED))

    with pytest.raises(Unavailable, match="no registry answers"):
        patient(clock, progress).run(act)

    assert 30 <= clock.now - 100 < 36


def test_pauses_grow_and_are_spread(clock, progress):
    with pytest.raises(Unavailable):
        patient(clock, progress).run(failing(lambda: Unavailable("busy")))

    bounds = [0.2, 0.4, 0.8, 1.6, 3.2, *[5.0] * 20]
    assert all(b / 2 <= p <= b for p, b in zip(clock.pauses, bounds, strict=False))
    assert len({round(pause / bound, 6) for pause, bound in zip(clock.pauses, bounds)}) > 1  # noqa: B905


def test_where_nobody_listens_it_is_asked_often(clock, progress):
    with pytest.raises(Unavailable):
        patient(clock, progress).run(failing(of_network(REFUSED)))

    assert max(clock.pauses) <= 1.0
    assert len(clock.pauses) < 70


def test_slow_failures_are_tried_again_so_often_at_least(clock, progress):
    def slow():
        clock.now += 60
        return Unavailable("did not answer in time")

    act = failing(slow)

    with pytest.raises(Unavailable):
        patient(clock, progress, retries=2).run(act)

    assert len(act.tries) == 3


def test_no_retries_is_no_second_try(clock, progress):
    act = failing(of_network(REFUSED))

    with pytest.raises(Unavailable):
        patient(clock, progress, retries=0).run(act)

    assert len(act.tries) == 1


def test_who_is_hasty_learns_at_once_that_nobody_listens(clock, progress):
    act = failing(of_network(REFUSED))

    with pytest.raises(Unavailable):
        patient(clock, progress).run(act, is_hasty=True)

    assert (len(act.tries), progress.said) == (1, [])


@pytest.mark.parametrize(
    "cause", [socket.gaierror(-2, "Name or service not known"), ssl.SSLCertVerificationError("self-signed")]
)
def test_what_waiting_does_not_change_fails_at_once(clock, progress, cause):
    act = failing(of_network(cause))

    with pytest.raises(Unavailable):
        patient(clock, progress).run(act)

    assert len(act.tries) == 1


def test_a_name_that_was_known_may_come_back(clock, progress):
    one = patient(clock, progress)
    one.run(lambda: None)
    act = failing(of_network(socket.gaierror(-3, "Temporary failure")), times=3)

    assert one.run(act) == "done"


def test_other_errors_are_not_tried_again(clock, progress):
    act = failing(lambda: Conflict("it moved"))

    with pytest.raises(Conflict):
        patient(clock, progress).run(act)

    assert len(act.tries) == 1


def test_a_server_that_says_when_is_asked_then(clock, progress):
    def busy():
        error = Unavailable("busy")
        error.retry_after_s = 7.0
        return error

    patient(clock, progress).run(failing(busy, times=1))

    assert 7.0 <= clock.pauses[0] <= 7.2


def test_a_long_wait_is_told_once_and_ends(clock, progress):
    patient(clock, progress).run(failing(of_network(REFUSED), times=8))

    assert len(progress.said) == 1
    assert "no registry answers at http://registry.example; trying again for" in progress.said[0]
    assert progress.closed == 1


def test_a_short_one_is_not(clock, progress):
    patient(clock, progress).run(failing(of_network(REFUSED), times=1))

    assert progress.said == []


WRONG_PROTOCOL = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("cause", "message", "fix"),
    [
        (UNTRUSTED, "is not trusted: self-signed certificate", "SSL_CERT_FILE"),
        (WRONG_PROTOCOL, "does not answer in TLS", "--server http://registry.example"),
        (
            socket.gaierror(-2, "Name or service not known"),
            "no machine is called registry.example",
            "config get server",
        ),
    ],
)
def test_what_waiting_does_not_mend_is_named_at_once(clock, progress, cause, message, fix):
    with pytest.raises(Unavailable) as refused:
        patient(clock, progress).run(failing(of_network(cause)))

    assert message in refused.value.message
    assert fix in refused.value.fix
    assert clock.pauses == []


def test_a_store_that_we_were_sent_to_is_named():
    error = of_network(REFUSED, "http://store.example:9000/bucket/key?X-Amz-Signature=secret")()

    assert isinstance(error, StoreUnavailable)
    assert "http://store.example:9000" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (httpx.ReadTimeout, "the store at http://store.example did not answer in time"),
        (httpx.RemoteProtocolError, "the connection to the store at http://store.example failed"),
    ],
)
def test_a_store_that_stops_in_the_middle_is_named_too(broken, told):
    request = httpx.Request("GET", "http://store.example/bucket/key")

    with pytest.raises(StoreUnavailable, match=told), our_errors(SERVER):
        raise broken("x", request=request)


def test_silence_is_told_until_it_ends(progress, clock, monkeypatch):
    monkeypatch.setattr(patience, "SILENCE_S", 0.05)

    with patient(clock, progress).watch("nobody has answered"):
        until(lambda: progress.said, "it speaks")

    assert progress.said[0].startswith("nobody has answered for 0 s")
    assert progress.closed == 1


def test_what_moves_is_not_silent(progress, clock, monkeypatch):
    monkeypatch.setattr(patience, "SILENCE_S", 30.0)

    with patient(clock, progress).watch("nobody has answered") as has_moved:
        for _ in range(100):
            has_moved()

    assert progress.said == []


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3),
        ("0", 0),
        (" 12 ", 12),
        ("86400", 30),
        ("9" * 400, 30),
        ("-5", 0),
        ("", 0),
        (None, 0),
        ("soon", 0),
        ("1.5", 0),
        ("٣", 0),
        (format_datetime(NOW + timedelta(seconds=20), usegmt=True), 20),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 30),
        (format_datetime(NOW - timedelta(days=9), usegmt=True), 0),
        ("Thu, 01 Jan 2026 00:00:05 -0000", 5),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(header, seconds):
    assert asked_pause_s(header, now=NOW) == seconds
