"""Events over HTTP: pages and streams, by the real client against a real server."""

import threading
import time
from itertools import islice

import httpx
import pytest

from deltareg import shared_state, streaming
from deltareg.api.routes import events as routes
from deltareg.api.telling import Pace, telling
from deltareg.errors import InvalidInput, NotFound
from deltareg.service.access.keeping import list_tokens, revoke_token
from deltareg.service.telling.number import number_all
from tests.service import rows
from tests.telling.told import SUBJECTS, happen, happen_in_one, own, receiver, until


@pytest.fixture
def lab(local_registry):
    """Serve a registry with the line `lab/x`; gives it with somebody who acts in it."""
    engine = local_registry.registry.engine
    ada = rows.caller(engine)
    rows.line(engine, maker=ada)
    own(engine, ada)
    local_registry.ada = ada
    return local_registry


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(streaming, "LOOK_S", 0.02)
    monkeypatch.setattr(streaming, "TOKEN_S", 0.2)


def happen_there(lab, subjects):
    happen(lab.registry, lab.ada, subjects)
    number_all(lab.registry)


def test_a_script_reads_pages_and_goes_on_after_the_last(lab):
    client = lab.client()
    happen_there(lab, SUBJECTS)

    first = client.events.list("lab/x", limit=2)
    rest = client.events.list("lab/x", after=first.next)
    happen_there(lab, ["lab/x@late"])
    late = client.events.list("lab/x", after=rest.next, types=["channel.promoted"])

    shown = [[event.subject for event in page.items] for page in (first, rest, late)]
    assert shown == [list(SUBJECTS[:2]), [SUBJECTS[2]], ["lab/x@late"]]
    assert [page.is_more for page in (first, rest, late)] == [True, False, False]
    assert client.events.list(newest=True, limit=1).items == late.items
    with pytest.raises(InvalidInput, match="no type of event"):
        client.events.list(types=["x.y"])
    with pytest.raises(NotFound, match="there is no delta lab/y"):
        client.events.list("lab/y")


def test_a_follower_misses_nothing_and_hears_nothing_twice_over_broken_connections(lab, quick):
    """The stream ends every fifth of a second, in the middle of whatever it says."""
    client, events = lab.client(), []
    download = client._api.download

    def short(path, **asked):
        asked["query"] = asked["query"] | {"seconds": "0.2"}
        return download(path, **asked)

    client._api.download = short
    happen_there(lab, ["lab/x@before"])
    start = client.events.list("lab/x").next

    def act():
        for at in range(40):
            happen_there(lab, [f"lab/x@c{at}"])
            time.sleep(0.01)

    acting = threading.Thread(target=act)
    acting.start()
    follow = client.events.follow("lab/x", after=start, sleep=lambda _s: None)
    events = [event.subject for event in islice(follow, 40)]
    acting.join()

    assert events == [f"lab/x@c{at}" for at in range(40)]


def test_a_stream_ends_with_its_token_and_with_the_right_to_read(lab, quick):
    token = lab.token("read", principal="eve")
    with lab.http(token).stream("GET", "/events/stream", timeout=20) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("retry: ")
        (info,) = [
            each for each in list_tokens(lab.registry, lab.ada, cursor=None, limit=99).items if each.principal == "eve"
        ]
        revoke_token(lab.registry, lab.ada, info.id)
        rest = list(lines)

    assert rest[-3:-1] == ["event: error", "data: unauthenticated"]
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        lab.http(token).get("/events/stream").raise_for_status()


def test_a_reader_that_does_not_read_costs_no_memory(lab, quick, monkeypatch):
    """What it does not take is not read for it, however much happens: 16 MB in 80 pages."""
    monkeypatch.setattr(routes, "_PART", 10)
    monkeypatch.setattr(streaming, "TOKEN_S", 60)
    looked, patient = [], streaming._patient

    def note(source, part):
        looked.append(part.next)
        return patient(source, part)

    monkeypatch.setattr(streaming, "_patient", note)
    with lab.http(lab.token("read")).stream("GET", "/events/stream", params={"after": "0"}, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        happen_in_one(lab.registry, lab.ada, ["lab/x@prod"] * 800, reason="x" * 20_000)
        number_all(lab.registry)
        until(lambda: len(looked) > 5, "it is looked for the reader")
        until(lambda: is_still(looked), "it is not looked any more")
        stuck = len(looked)
        number = 0
        while number < 800:
            number += next(lines).startswith("data: ")

    assert stuck < 70, "pages are made that nobody takes"
    assert len(looked) >= 80


def is_still(looked):
    number = len(looked)
    time.sleep(0.5)
    return len(looked) == number


def test_what_is_said_first_lets_a_reader_go_on_from_there(lab, quick, monkeypatch):
    """Also one that wants to hear of other things than what happens, by ids alone."""
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.05)
    happen_there(lab, SUBJECTS)
    with lab.http(lab.token("read")).stream("GET", "/events/stream", params={"type": "base.*"}, timeout=20) as response:
        lines = response.iter_lines()
        first = list(islice(lines, 4))
        happen_there(lab, SUBJECTS)
        later = next(line for line in lines if line.startswith("id: ") and line != first[1])

    last = lab.client().events.list(newest=True, limit=1).next
    assert first[0].startswith("retry: ")
    assert first[1].startswith("id: ")
    assert later == f"id: {last}"


def test_so_many_streams_and_no_more(lab, monkeypatch):
    monkeypatch.setattr(shared_state, "READERS_MOST", 0)

    answer = lab.http(lab.token("read")).get("/events/stream")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert lab.app.state.server.streams.number == 0


def test_nobody_without_a_token_hears_anything(lab):
    lab.app.state.server.anonymous_reading = True
    for path in ("/events", "/events/stream"):
        assert lab.http().get(path).status_code == 401
    client = lab.client()
    assert client.events.list().items == []


def test_a_webhook_by_the_client(lab):
    client = lab.client(principal="ada")
    with receiver() as here:
        made = client.webhooks.add(f"{here.url}/in", namespace="lab", types=["channel.*"])
        assert client.webhooks.test(made.webhook.id).is_ok
        happen(lab.registry, lab.ada, SUBJECTS[:1])
        with telling(lab.registry, Pace(look_s=0.02)):
            until(lambda: len(here.got) == 2, "it arrived")
        rotated = client.webhooks.rotate(made.webhook.id, keep_s=60)
        (delivery,) = client.webhooks.deliveries(made.webhook.id).items
        assert client.webhooks.redeliver(made.webhook.id, [delivery.id]).number == 1
        with telling(lab.registry, Pace(look_s=0.02)):
            until(lambda: len(here.got) == 3, "it arrived again")
        shown = client.webhooks.show(made.webhook.id)
        assert [each.id for each in client.webhooks.list("lab")] == [shown.id]
        assert client.webhooks.remove(shown.id).id == shown.id

    test, first, again = here.got
    assert {each.path for each in here.got} == {"/in"}
    assert test.checked(made.secret)["type"].endswith("webhook.tested")
    assert first.checked(made.secret) == again.checked(rotated.secret) == again.checked(made.secret)
    assert (delivery.state, delivery.tries[0].status) == ("delivered", 200)
    assert (shown.secrets, shown.delivered, shown.pending) == (2, 1, 0)
    with pytest.raises(NotFound):
        client.webhooks.show(shown.id)
