"""Events: in one order without gaps, of a closed list of types, and seen by who may see them."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access import namespaces
from deltareg.db.events import outbox as queries
from deltareg.db.session import read, write
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Grant, NamespacePart, NonPrivateNamespaces, Right
from deltareg.service.authority.resources import EVERYTHING, Base, Namespace
from deltareg.service.channels.fleet import report_agent
from deltareg.service.events import Action
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.runs import queue_run
from deltareg.service.telling.cloud_events import read_id
from deltareg.service.telling.drift import tell_drift
from deltareg.service.telling.number import number_all, number_some
from deltareg.service.telling.read import EventFilter, list_events
from deltareg.service.telling.types import NAMES, PREFIX, TYPES, fields_of, type_of
from deltareg.service.upkeep.old_events import drop_old_events
from deltareg.wire import AgentReport, Observed, RunCreate
from tests.service import rows
from tests.service.work import claim, report
from tests.telling.told import LINE, happen, owner_of_lab, registry_on


@pytest.fixture
def registry(engine):
    return registry_on(engine)


@pytest.fixture
def ada(engine):
    return owner_of_lab(engine)


def seen(registry, caller, of=None, types="", *, after="0", newest=False, limit=200):
    return list_events(registry, caller, EventFilter.of(of, types), after=after, newest=newest, limit=limit)


def subjects(page):
    return [event.subject for event in page.items]


def reader(*grants):
    return Caller("eve", 77, 1, frozenset(Grant(Right.READ, reach) for reach in grants))


def test_an_event_is_a_cloud_event_with_the_fields_of_its_type_and_no_others(registry, ada):
    happen(registry, ada, ["lab/x@prod"])
    number_all(registry)

    (event,) = seen(registry, ada).items

    written = json.loads(event.model_dump_json())
    assert written.pop("time").endswith("Z")
    assert written.pop("id") == event.id
    assert read_id(event.id)[0] == 1
    assert written.pop("source").startswith("urn:uuid:")
    assert written == {
        "specversion": "1.0",
        "type": "dev.deltareg.channel.promoted",
        "subject": "lab/x@prod",
        "datacontenttype": "application/json",
        "sequence": f"{1:018}",
        "data": {
            "ref": "lab/x@prod",
            "actor": "ada",
            "namespace": "lab",
            "delta": "lab/x",
            "version": 0,
            "reason": "reason 0",
        },
    }


def test_a_verdict_is_about_its_version(registry, ada):
    rows.base(registry.engine)
    rows.version(registry.engine, line_id(registry))
    run = queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    complete_run(registry, ada, run.id, report(claim(registry, ada)))
    number_all(registry)

    (event,) = seen(registry, ada, types="verdict.given").items

    assert (event.subject, event.data["verdict"]) == ("lab/x:v1", "pass")


def line_id(registry):
    with read(registry.engine) as conn:
        return rows.delta_id(conn, "x")


def test_whatever_is_in_no_type_is_told_nobody(registry, ada):
    told = {action for each in TYPES for action in each.actions}
    kept = set(Action) - told
    for action in kept:
        happen(registry, ada, ["token/1"], action=action, on=EVERYTHING)
    happen(registry, ada, ["run/r"], action=Action.RUN_DEAD, on=EVERYTHING)

    assert number_all(registry) == len(kept) + 1

    assert seen(registry, ada).items == []
    assert {"token.create", "member.add", "key.enrol", "webhook.add"} <= kept
    assert {each.split(".")[0] for each in NAMES} == {
        "version",
        "line",
        "namespace",
        "base",
        "proof",
        "verdict",
        "request",
        "channel",
        "drift",
        "quota",
    }


def test_a_failure_of_a_run_is_told_when_it_was_the_last():
    assert type_of("run.fail", {"state": "queued"}) is None
    last = type_of("run.fail", {"state": "dead"})

    assert last is not None
    assert last.name == "verdict.missing"
    assert fields_of("run.fail", None, {"state": "dead", "error": "/home/ada"}) == {"state": "dead"}


def test_pages_lose_nothing_and_repeat_nothing_at_once_with_those_who_write(registry, ada):
    """Writers commit in another order than their rows are counted; several number at once."""
    written, ended = [], threading.Event()

    def act(worker):
        for at in range(25):
            subject = f"lab/x@c{worker}-{at}"
            with write(registry.engine) as conn:
                ada.record(conn, Action.CHANNEL_CREATE, subject, on=LINE, before=None, after=None)
                ended.wait(random.Random(f"{worker} {at}").random() / 500)
            written.append(subject)

    def number():
        while not ended.is_set():
            number_some(registry, limit=7)

    got = Reader(registry, ada)
    with ThreadPoolExecutor(5) as pool:
        acting = [pool.submit(act, worker) for worker in range(3)]
        numbering = [pool.submit(number) for _ in range(2)]
        while not all(each.done() for each in acting):
            got.read()
        ended.set()
    number_all(registry)
    while got.read():
        pass

    assert [each.result() for each in acting + numbering] == [None] * 5
    assert sorted(got.subjects) == sorted(written)
    assert got.numbers == list(range(1, 76))
    for worker in range(3):
        mine = [subject for subject in got.subjects if f"@c{worker}-" in subject]
        assert mine == [f"lab/x@c{worker}-{at}" for at in range(25)]


class Reader:
    """Reads small pages, on from where the last one ended."""

    def __init__(self, registry, caller):
        self._registry, self._caller, self._place = registry, caller, "0"
        self.subjects, self.numbers = [], []

    def read(self):
        page = seen(self._registry, self._caller, after=self._place, limit=5)
        self._place = page.next
        self.subjects += [event.subject for event in page.items]
        self.numbers += [read_id(event.id)[0] for event in page.items]
        return bool(page.items)


def test_rights_hold_for_each_event_at_the_moment_of_reading(registry, ada):
    happen(registry, ada, ["lab/x:v1"], action=Action.VERSION_PUSH)
    happen(registry, ada, ["base/tiny"], action=Action.BASE_PUSH, on=Base("tiny"))
    happen(registry, ada, ["base/lab/own"], action=Action.BASE_PUSH, on=Base("lab/own"))
    number_all(registry)
    everybody, member = reader(NonPrivateNamespaces(frozenset())), reader(Namespace("lab"))
    of_x, of_y = reader(NamespacePart("lab", "x")), reader(NamespacePart("lab", "y*"))
    assert subjects(seen(registry, everybody)) == ["lab/x:v1", "base/tiny", "base/lab/own"]

    with write(registry.engine) as conn:
        namespaces.set_visibility(conn, 1, "private")

    assert subjects(seen(registry, everybody)) == ["base/tiny"]
    assert subjects(seen(registry, member)) == ["lab/x:v1", "base/tiny", "base/lab/own"]
    assert subjects(seen(registry, of_x)) == ["lab/x:v1", "base/tiny"]
    assert subjects(seen(registry, of_y)) == ["base/tiny"]
    assert subjects(seen(registry, of_x, "lab/x")) == ["lab/x:v1"]
    for caller, of in ((reader(), None), (of_y, "lab/x"), (reader(Namespace("z")), "lab")):
        with pytest.raises(Exception, match=r"does not allow|there is no"):
            seen(registry, caller, of)


def test_events_are_asked_for_by_place_and_type(registry, ada):
    rows.line(registry.engine, "other", maker=ada)
    happen(registry, ada, ["lab/x@prod", "lab/x@dev"])
    happen(registry, ada, ["lab/other:v1"], action=Action.VERSION_PUSH, on=LineRef("lab", "other"))
    number_all(registry)

    assert subjects(seen(registry, ada, "lab/x")) == ["lab/x@prod", "lab/x@dev"]
    assert subjects(seen(registry, ada, types="version.*")) == ["lab/other:v1"]
    assert subjects(seen(registry, ada, types=f"{PREFIX}version.pushed")) == ["lab/other:v1"]
    assert len(seen(registry, ada, types="version.*,channel.promoted").items) == 3
    assert subjects(seen(registry, ada, after=None, newest=True, limit=1)) == ["lab/other:v1"]
    with pytest.raises(InvalidInput, match=r"no type of event 'version\.eaten'"):
        seen(registry, ada, types="version.eaten")
    with pytest.raises(InvalidInput, match="not the id of an event"):
        seen(registry, ada, after="tomorrow")


def test_a_reader_that_was_away_too_long_is_told(registry, ada):
    happen(registry, ada, ["lab/x@a", "lab/x@b", "lab/x@c"])
    number_all(registry)
    place = seen(registry, ada, limit=1).next
    with write(registry.engine) as conn:
        old = t.outbox.c.created_at - 8 * 86_400 * US_PER_S
        conn.execute(sa.update(t.outbox).where(t.outbox.c.number <= 2).values(created_at=old))

    assert drop_old_events(registry.engine) == 2

    assert subjects(seen(registry, ada, after="2")) == ["lab/x@c"]
    assert subjects(seen(registry, ada, after=None)) == ["lab/x@c"]
    for after in (place, "0", "9"):
        with pytest.raises(NotFound, match=r"not kept any more|not of this history"):
            seen(registry, ada, after=after)


def test_an_event_of_another_history_is_told_from_one_of_this(registry, ada):
    """A restored database counts on from where it was, and gives other events the same numbers."""
    happen(registry, ada, ["lab/x@a", "lab/x@b"])
    number_all(registry)
    place = seen(registry, ada, limit=1).next
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.outbox).values(created_at=t.outbox.c.created_at + 1))

    with pytest.raises(NotFound, match="restored from a backup"):
        seen(registry, ada, after=place)


def test_what_is_kept_has_no_gaps_while_something_is_still_due(registry, ada):
    happen(registry, ada, ["lab/x@a", "lab/x@b", "lab/x@c"])
    number_all(registry)
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.outbox).values(created_at=t.outbox.c.created_at - 60 * 86_400 * US_PER_S))
        hook = {
            "id": "wh",
            "lines": "",
            "types": ["*"],
            "form": "slack",
            "shown": "",
            "note": "",
            "address": b"",
            "state": "on",
            "why": "",
            "answers_id": ada.principal_id,
        }
        conn.execute(sa.insert(t.webhooks).values(hook))
        due = {
            "webhook_id": "wh",
            "event_id": 2,
            "number": 2,
            "subject": "s",
            "state": "pending",
            "attempts": 0,
            "since": 0,
            "next_at": 0,
        }
        conn.execute(sa.insert(t.deliveries).values(due))

    assert drop_old_events(registry.engine, keep_s=50 * 86_400) == 1

    with read(registry.engine) as conn:
        assert queries.first_number(conn) == 2


def test_drift_is_told_when_it_begins_and_when_it_is_over(registry, ada):
    rows.base(registry.engine)
    with write(registry.engine) as conn:
        conn.execute(sa.insert(t.channels).values(delta_id=line_id(registry), name="pd", policy={}))

    def tell(state, **more):
        observed = Observed(channel="lab/x@pd", state=state, **more)
        report_agent(registry, ada, "host", AgentReport(engine="dir", every_s=10, serves=[observed]))
        return tell_drift(registry)

    told = [tell("ok"), tell("pulling"), tell("failed", error="no room"), tell("failed"), tell("ok")]
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.agents).values(seen_at=0))
    told += [tell_drift(registry), tell_drift(registry), tell("ok")]
    number_all(registry)

    assert told == [0, 0, 1, 0, 1, 1, 0, 1]
    found = [(each.type, each.data) for each in seen(registry, ada, types="drift.*").items]
    assert [(kind.removeprefix(PREFIX), data["drift"]) for kind, data in found] == [
        ("drift.found", "failed"),
        ("drift.over", "none"),
        ("drift.found", "silent"),
        ("drift.over", "none"),
    ]
    assert found[0][1]["error"] == "no room"
    assert found[0][1]["ref"] == "lab/x@pd/agent/host"
