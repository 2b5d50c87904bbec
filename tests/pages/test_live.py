"""The log of a run as it comes, by server-sent events: whole, bounded, by one's rights."""

import pytest

from deltareg import shared_state, streaming
from deltareg.pages import live
from deltareg.wire import LeaseRequest, LineSent, LogAppend
from tests.fixtures.registries import report
from tests.pages.conftest import browser, word_of

WAIT = 60


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(streaming, "LOOK_S", 0.02)


class Worked:
    """A run that a worker is at."""

    def __init__(self, desk):
        self.worker = desk.client(("read", "verify"), principal="worker", kind="wrk")
        asked = desk.client(("read", "push"), principal="asker").verify("team/lora:v1", again=True)
        self.grant = self.worker.lease(LeaseRequest(worker="scripted"))
        while self.grant.run != asked.id:
            self.worker.complete_run(self.grant.run, report(self.grant))
            self.grant = self.worker.lease(LeaseRequest(worker="scripted"))
        self.path, self.said = f"/ui/runs/{asked.id}", 0

    def say(self, *texts):
        lines = [LineSent(text=text) for text in texts]
        told = LogAppend(fence=self.grant.fence, first=self.said, lines=lines)
        self.worker.append_log(self.grant.run, told)
        self.said += len(texts)

    def end(self):
        self.worker.complete_run(self.grant.run, report(self.grant))


@pytest.fixture
def worked(desk):
    return Worked(desk)


def streamed(client, worked, **headers):
    return client.stream("GET", f"{worked.path}/stream", headers=headers, timeout=WAIT)


def data(lines):
    """Give what is said, by kind: lines of the log, and events with a name."""
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        if line.startswith("data: "):
            yield kind or "line", line.removeprefix("data: ")
            kind = ""


def test_lines_come_in_their_order_and_the_end_with_the_run(pages, worked, quick):
    worked.say("first", "second <b>")
    with streamed(pages, worked) as answer:
        found = data(answer.iter_lines())
        begun = [next(found), next(found)]
        worked.say("third")
        third = next(found)
        worked.end()
        rest = list(found)

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    assert [text[10:] for _, text in begun] == ["first", "second <b>"]
    assert third[1].endswith("third")
    assert rest[-1] == ("end", "done")
    shown = pages.get(worked.path).text
    assert all(text in shown for text in ("first", "second &lt;b&gt;", "third"))
    assert "data-stream" not in shown


def test_a_browser_that_comes_again_goes_on_behind_its_last_line(pages, worked, quick):
    worked.say("one", "two", "three")
    worked.end()
    with streamed(pages, worked, **{"Last-Event-ID": "2"}) as answer:
        found = list(data(answer.iter_lines()))

    assert [text[10:] for kind, text in found if kind == "line"][:1] == ["three"]
    assert found[-1] == ("end", "done")


def test_it_beats_while_nothing_is_said_and_ends_by_itself(pages, worked, quick, monkeypatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(live, "LASTS_S", 0.3)
    with streamed(pages, worked) as answer:
        lines = list(answer.iter_lines())

    assert ": still here" in lines
    assert not any(line.startswith("event: end") for line in lines)
    worked.end()


def test_it_ends_with_the_session(desk, worked, quick, monkeypatch):
    monkeypatch.setattr(streaming, "TOKEN_S", 0.05)
    with browser(desk, desk.admin_token) as client:
        word = word_of(client)
        with streamed(client, worked) as answer:
            lines = answer.iter_lines()
            next(lines)
            client.post("/ui/logout", data={"word": word})
            rest = list(lines)
    worked.end()

    assert "data: unauthenticated" in rest
    assert desk.app.state.server.streams.number == 0


def test_it_is_for_who_may_read_the_run_and_for_no_other_site(desk, pages, worked):
    asked = {"principal": "stranger", "scopes": ["read"], "everywhere": False}
    admin = desk.http(desk.admin_token)
    admin.patch("/namespaces/team", json={"visibility": "private"}).raise_for_status()
    token = admin.post("/tokens", json=asked).json()["token"]
    try:
        with browser(desk, token) as stranger:
            unseen = stranger.get(f"{worked.path}/stream")
    finally:
        admin.patch("/namespaces/team", json={"visibility": "internal"})
    elsewhere = pages.get(f"{worked.path}/stream", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"})
    worked.end()

    assert unseen.status_code == 404
    assert elsewhere.status_code == 403
    assert pages.get("/ui/runs/x/stream").status_code == 422
    assert pages.get(f"{worked.path}/stream?after=x").status_code == 422


def test_so_many_and_no_more_and_then_the_page_asks_as_before(pages, worked, monkeypatch):
    monkeypatch.setattr(live, "MOST_OF_ONE", 0)
    of_one = pages.get(f"{worked.path}/stream")
    monkeypatch.setattr(live, "MOST_OF_ONE", 8)
    monkeypatch.setattr(shared_state, "READERS_MOST", 0)
    of_all = pages.get(f"{worked.path}/stream")
    shown = pages.get(worked.path).text
    worked.end()

    assert (of_one.status_code, of_all.status_code) == (503, 503)
    assert 'data-hx-trigger="every 3s"' in shown
    assert f'data-stream="{worked.path}/stream?after=' in shown
