"""Webhooks: whose they are, what is kept of them, and what arrives at real receivers."""

import json
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook, WebhookVerificationError

from deltareg.api.telling import Pace, telling
from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import Conflict, Forbidden, InvalidInput, LeaseLost, Misconfigured, NotFound
from deltareg.service.access.members import end_member
from deltareg.service.events import Action
from deltareg.service.telling import webhooks as service
from deltareg.service.telling.deliveries import list_deliveries, redeliver
from deltareg.service.telling.due import due_now, settle, take_lease
from deltareg.service.telling.number import number_all
from deltareg.service.telling.read import EventFilter, list_events
from deltareg.service.telling.send import AttemptOutcome
from deltareg.signing.secret_box import SecretBox
from deltareg.wire import Redeliver, WebhookAdd, WebhookRotate
from tests.service import rows
from tests.telling.told import (
    LINE,
    SUBJECTS,
    happen,
    happen_in_one,
    hook,
    own,
    owner_of_lab,
    receiver,
    registry_on,
    states,
    until,
)

QUICK = Pace(look_s=0.02, lease_s=1.0, timeout_s=20.0, pauses_s=(0.05,) * 200, give_up_s=60)


@pytest.fixture
def registry(engine):
    return registry_on(engine)


@pytest.fixture
def ada(engine):
    return owner_of_lab(engine)


def owner_only(engine, name):
    """Give a caller with the right of an owner of `lab` and no other."""
    from deltareg.service.authority.grants import Grant, Right
    from deltareg.service.authority.resources import Namespace

    found = rows.caller(engine, name)
    return replace(found, grants=frozenset({Grant(Right.ADMIN, Namespace("lab"))}))


def subjects_of(got):
    """Give the numbers of the events that came, in the order that they did, by subject."""
    found: dict[str, list[int]] = {}
    for each in got:
        event = json.loads(each.body)
        found.setdefault(event["subject"], []).append(event["data"]["version"])
    return found


def test_each_event_arrives_signed_and_in_order_at_whoever_wants_it(registry, ada):
    with receiver() as all_of_it, receiver() as promotions:
        _, first = hook(registry, ada, f"{all_of_it.url}/a?b=c")
        _, second = hook(registry, ada, promotions.url, types=["channel.promoted"], lines="x*")
        happen(registry, ada, ["lab/x:v1"], action=Action.VERSION_PUSH)
        happen(registry, ada, SUBJECTS * 5)
        happen(registry, ada, ["token/7"], action=Action.TOKEN_CREATE)

        with telling(registry, QUICK):
            until(lambda: states(registry) == {"delivered": 31}, "all arrived")

    assert [each.path for each in all_of_it.got] == ["/a?b=c"] * 16
    assert {each.headers["content-type"] for each in all_of_it.got} == {"application/cloudevents+json; charset=utf-8"}
    page = list_events(registry, ada, EventFilter(), after=None, limit=200)
    known = {event.id: json.loads(event.model_dump_json()) for event in page.items}
    for each in all_of_it.got:
        assert each.checked(first) == known[each.headers["webhook-id"]]
        with pytest.raises(WebhookVerificationError):
            each.checked(second)
    assert subjects_of(promotions.got) == {subject: list(range(at, 15, 3)) for at, subject in enumerate(SUBJECTS)}


def test_what_was_changed_on_the_way_is_not_verified(registry, ada):
    with receiver() as here:
        _, secret = hook(registry, ada, here.url)
        happen(registry, ada, SUBJECTS[:1])
        with telling(registry, QUICK):
            until(lambda: here.got, "it arrived")

    (got,) = here.got
    other = got.headers | {"webhook-id": "2-1"}
    late = got.headers | {"webhook-timestamp": str(int(time.time()) - 3600)}
    for body, headers in ((got.body + b" ", got.headers), (got.body, other), (got.body, late)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)


def test_two_secrets_sign_while_they_change_and_one_after(registry, ada):
    with receiver() as here:
        webhook_id, first = hook(registry, ada, here.url)
        second = service.rotate_webhook(registry, ada, webhook_id, WebhookRotate()).secret
        happen(registry, ada, SUBJECTS[:1])
        with telling(registry, QUICK):
            until(lambda: here.got, "it arrived")
        third = service.rotate_webhook(registry, ada, webhook_id, WebhookRotate(keep_s=0)).secret
        happen(registry, ada, SUBJECTS[:1])
        with telling(registry, QUICK):
            until(lambda: len(here.got) == 2, "it arrived")

    both, alone = here.got
    assert both.checked(first) == both.checked(second)
    assert len(both.headers["webhook-signature"].split()) == 2
    assert alone.checked(third)["subject"] == SUBJECTS[0]
    for former in (first, second):
        with pytest.raises(WebhookVerificationError):
            alone.checked(former)


def test_a_receiver_that_fails_gets_all_of_it_in_order_when_it_is_back(registry, ada):
    """Down, redirecting, refusing, hanging up and sending garbage: each costs tries, no events."""
    faults = [301, 500, 503, 404, "hangs up", "garbage"] * 4

    def answer(request):
        fault = faults.pop() if faults else 200
        if fault == "hangs up":
            request.close_connection = True
        elif fault == "garbage":
            request.wfile.write(b"\x16\x03\x01 no HTTP\r\n\r\n")
            request.close_connection = True
        else:
            return fault
        return None

    happened = list(SUBJECTS) * 6
    with receiver(answer) as here, receiver() as well:
        hook(registry, ada, here.url)
        hook(registry, ada, well.url)
        happen(registry, ada, happened)
        with telling(registry, QUICK):
            until(lambda: states(registry) == {"delivered": 36}, "all arrived")

    assert len(well.got) == 18
    assert len(here.got) == 18 + 24
    for found in subjects_of(here.got).values():
        assert list(dict.fromkeys(found)) == sorted(set(found)), "an event came after a later one"
        assert len(set(found)) == 6
    with read(registry.engine) as conn:
        told = set(conn.execute(sa.select(t.delivery_attempts.c.told)).scalars())
    assert {each.partition(":")[0] for each in told} == {
        "",
        "answered 301",
        "answered 500",
        "answered 503",
        "answered 404",
        "no answer",
    }


def test_a_slow_receiver_holds_up_nobody_else(registry, ada):
    has_time = threading.Event()

    def slow(_request):
        has_time.wait(60)
        return 200

    with receiver(slow) as here, receiver() as well:
        hook(registry, ada, here.url)
        hook(registry, ada, well.url)
        happen(registry, ada, [f"lab/x@c{at}" for at in range(20)])
        with telling(registry, QUICK):
            until(lambda: len(well.got) == 20, "the quick one has all of it")
            under_way = len(here.got)
            has_time.set()
            until(lambda: states(registry) == {"delivered": 40}, "the slow one has it, too")

    assert under_way <= QUICK.of_one
    assert len(here.got) == 20


def test_what_fails_for_its_time_is_dead_until_it_is_sent_again(registry, ada):
    status = [500]
    with receiver(lambda _request: status[0]) as here:
        webhook_id, _ = hook(registry, ada, here.url)
        happen(registry, ada, [SUBJECTS[0], SUBJECTS[0], SUBJECTS[1]])
        with telling(registry, replace(QUICK, pauses_s=(0.01, 0.01))):
            until(lambda: states(registry) == {"dead": 3}, "all are dead")
            assert len(here.got) == 9
            shown = list_deliveries(registry, ada, webhook_id, state="dead", cursor=None, limit=9)
            status[0] = 204
            one = shown.items[0]
            assert redeliver(registry, ada, webhook_id, Redeliver(ids=[one.id])).number == 1
            until(lambda: states(registry) == {"dead": 2, "delivered": 1}, "it arrived")
            assert redeliver(registry, ada, webhook_id, Redeliver(dead=True)).number == 2
            until(lambda: states(registry) == {"delivered": 3}, "the others, too")

    assert [(each.status, each.told) for each in one.tries] == [(500, "answered 500")] * 3
    ids = [each.headers["webhook-id"] for each in here.got]
    assert Counter(ids) == dict.fromkeys(set(ids), 4)
    info = service.show_webhook(registry, ada, webhook_id)
    assert (info.pending, info.delivered, info.dead) == (0, 3, 0)


def test_a_receiver_that_is_gone_is_asked_no_more(registry, ada):
    with receiver(lambda _request: 410) as here:
        webhook_id, _ = hook(registry, ada, here.url)
        happen(registry, ada, SUBJECTS)
        with telling(registry, QUICK):
            until(lambda: states(registry) == {"dead": 3}, "nothing is due")
            happen(registry, ada, ["lab/x@late"])
            number_all(registry)
            time.sleep(0.2)

    info = service.show_webhook(registry, ada, webhook_id)
    assert (info.state, info.why) == ("off", "the receiver says that it is gone (410)")
    assert "lab/x@late" not in subjects_of(here.got)
    assert len(here.got) <= 3
    service.rotate_webhook(registry, ada, webhook_id, WebhookRotate())
    assert service.show_webhook(registry, ada, webhook_id).state == "on"


def test_several_processes_at_once_deliver_each_event_in_its_order(registry, ada):
    """Once each, but for a lease that ends while a busy machine is at a delivery."""
    with receiver() as here:
        hook(registry, ada, here.url)
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(telling(registry, QUICK))
            happen(registry, ada, list(SUBJECTS) * 10)
            until(lambda: states(registry) == {"delivered": 30}, "all arrived")

    first = [list(dict.fromkeys(found)) for found in subjects_of(here.got).values()]
    assert sum(map(len, first)) == 30
    assert all(found == sorted(found) for found in first)


def test_who_lost_the_lease_writes_nothing_down(registry, ada):
    with receiver() as here:
        hook(registry, ada, here.url)
        happen(registry, ada, SUBJECTS)
        number_all(registry)
    assert take_lease(registry, "one", lease_s=60)
    due = due_now(registry, under_way=(), full=(), limit=9)
    assert not take_lease(registry, "two", lease_s=60)
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.event_head).values(held_until=1))
    assert take_lease(registry, "two", lease_s=60)

    with pytest.raises(LeaseLost):
        settle(registry, "one", {each.delivery: AttemptOutcome(200, "") for each in due})

    assert len(due) == 3
    assert states(registry) == {"pending": 3}
    assert not take_lease(registry, "one", lease_s=60)


def test_an_event_waits_for_the_one_before_it_of_its_subject(registry, ada):
    hook(registry, ada, "http://127.0.0.1:9/")
    happen_in_one(registry, ada, [SUBJECTS[0], SUBJECTS[1], SUBJECTS[0], SUBJECTS[1]])
    number_all(registry)
    take_lease(registry, "me", lease_s=99)

    def due():
        found = due_now(registry, under_way=(), full=(), limit=9)
        return {each.delivery.number: each.delivery for each in found}

    first = due()  # the webhook itself was event 1
    assert sorted(first) == [2, 3]
    settle(registry, "me", {first[2]: AttemptOutcome(500, "answered 500", wait_s=50)})
    assert sorted(due()) == [3]
    settle(registry, "me", {first[3]: AttemptOutcome(200, "")})
    assert sorted(due()) == [5]


def test_owners_and_admins_have_webhooks_and_nobody_else(registry, ada):
    owner, other = (
        owner_only(registry.engine, "olga"),
        rows.caller(registry.engine, "bob", scopes=["read", "push", "promote"]),
    )
    own(registry.engine, owner)
    webhook_id, _ = hook(registry, owner, "http://127.0.0.1:9/")

    for act in (
        lambda who: hook(registry, who, "http://127.0.0.1:9/"),
        lambda who: service.list_webhooks(registry, who, "lab", cursor=None, limit=9),
        lambda who: hook(registry, who, "http://127.0.0.1:9/", namespace=None),
    ):
        with pytest.raises(Forbidden):
            act(other)
    for managing in (
        service.show_webhook,
        service.remove_webhook,
        service.try_webhook,
        lambda r, who, one: service.rotate_webhook(r, who, one, WebhookRotate()),
        lambda r, who, one: redeliver(r, who, one, Redeliver(dead=True)),
        lambda r, who, one: list_deliveries(r, who, one, state=None, cursor=None, limit=9),
    ):
        with pytest.raises(NotFound, match="there is no webhook"):
            managing(registry, other, webhook_id)
    with pytest.raises(Forbidden):
        hook(registry, owner, "http://127.0.0.1:9/", namespace=None)
    everywhere, _ = hook(registry, ada, "http://127.0.0.1:9/", namespace=None)
    with pytest.raises(NotFound):
        service.show_webhook(registry, owner, everywhere)
    listed = service.list_webhooks(registry, ada, None, cursor=None, limit=9)
    assert {each.id for each in listed.items} == {webhook_id, everywhere}


def test_who_no_longer_owns_a_namespace_hears_nothing_more_of_it(registry, ada):
    bob = owner_only(registry.engine, "bob")
    own(registry.engine, bob)
    with receiver() as here:
        webhook_id, _ = hook(registry, bob, here.url)
        with read(registry.engine) as conn:
            query = sa.select(t.grants.c.id).where(t.grants.c.principal_id == bob.principal_id)
            grant = conn.execute(query).scalar_one()
        end_member(registry, ada, grant)
        happen(registry, ada, SUBJECTS[:1])
        with telling(registry, QUICK):
            listed = lambda: list_deliveries(  # noqa: E731
                registry, ada, webhook_id, state=None, cursor=None, limit=9
            ).items[0]
            until(lambda: states(registry) and listed().tries, "it was tried")
            assert here.got == []
            service.rotate_webhook(registry, ada, webhook_id, WebhookRotate())
            until(lambda: here.got, "it is ada's now")

    assert "bob does not own lab any more" in listed().tries[0].told


def test_nothing_secret_is_in_the_database_or_in_an_answer(registry, ada):
    path = "services/T0/B0/very-secret"
    webhook_id, secret = hook(registry, ada, f"http://127.0.0.1:9/{path}")

    shown = service.show_webhook(registry, ada, webhook_id)

    assert (shown.address, shown.secrets) == ("http://127.0.0.1:9/…", 1)
    kept = repr(
        [
            rows.rows(registry.engine, table)
            for table in (t.webhooks, t.webhook_secrets, t.audit, t.outbox, t.deliveries)
        ]
    )
    assert secret.removeprefix("whsec_") not in kept
    assert "very-secret" not in kept + shown.model_dump_json()


def test_a_server_with_another_key_says_so_and_sends_nothing(registry, ada):
    other = replace(registry, box=SecretBox.generate()[0])
    with receiver() as here:
        webhook_id, _ = hook(registry, ada, here.url)
        happen(registry, ada, SUBJECTS[:1])
        with telling(other, QUICK):
            tried = until(
                lambda: [
                    each.tries
                    for each in list_deliveries(registry, ada, webhook_id, state=None, cursor=None, limit=9).items
                    if each.tries
                ],
                "it was tried",
            )
        assert here.got == []
        with telling(registry, QUICK):
            until(lambda: here.got, "it arrived")

    assert f"and this server has {other.box.name}" in tried[0][0].told
    with pytest.raises(Misconfigured, match="no key to seal"):
        hook(replace(registry, box=None), ada, here.url)


def test_a_test_is_sent_at_once_and_its_answer_told(registry, ada):
    with receiver() as here, receiver(lambda _request: 418) as teapot:
        good, secret = hook(registry, ada, here.url)
        bad, _ = hook(registry, ada, teapot.url)

        arrived = service.try_webhook(registry, ada, good)
        refused = service.try_webhook(registry, ada, bad)

    (got,) = here.got
    assert got.checked(secret)["type"] == "dev.deltareg.webhook.tested"
    assert (arrived.is_ok, arrived.attempt.status) == (True, 200)
    assert (refused.is_ok, refused.attempt.told) == (False, "answered 418")
    assert states(registry) == {}


def test_the_slack_form_is_a_text_in_which_nobody_is_called(registry, ada):
    with receiver() as here:
        _, secret = hook(registry, ada, here.url, form="slack", types=["channel.*"])
        with write(registry.engine) as conn:
            after = {"version": 12, "reason": "better <!channel> & *bold* <https://x|y>"}
            ada.record(conn, Action.CHANNEL_ROLLBACK, "lab/x@prod", on=LINE, before=None, after=after)
        with telling(registry, QUICK):
            until(lambda: here.got, "it arrived")

    (got,) = here.got
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert got.checked(secret) == {
        "text": "*lab/x@prod* rolled back: v12, by ada\n> better &lt;!channel&gt; &amp; "
        "*\u200bbold*\u200b &lt;https://x|y&gt;"
    }


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"url": "http://10.0.0.1/"}, "not an address of the open Internet"),
        ({"url": "ftp://example.org/"}, "not to 'ftp'"),
        ({"url": "http://a:b@127.0.0.1/"}, "a name or a password"),
        ({"url": "http://no-such-host.invalid/"}, "is not found from this server"),
        ({"types": ["version.eaten"]}, "no type of event"),
        ({"lines": "A B"}, "no pattern of lines"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused(sqlite_engine, more, told):
    registry, ada = registry_on(sqlite_engine), owner_of_lab(sqlite_engine)
    asked = {"url": "http://127.0.0.1:9/", "namespace": "lab"} | more

    with pytest.raises(InvalidInput, match=told):
        service.add_webhook(registry, ada, WebhookAdd.model_validate(asked))

    assert rows.rows(sqlite_engine, t.webhooks) == []


def test_there_are_so_many_webhooks_and_no_more(sqlite_engine, monkeypatch):
    registry, ada = registry_on(sqlite_engine), owner_of_lab(sqlite_engine)
    monkeypatch.setattr(service, "MOST", 2)
    made = [hook(registry, ada, "http://127.0.0.1:9/")[0] for _ in range(2)]

    with pytest.raises(Conflict, match="lab has 2 webhooks"):
        hook(registry, ada, "http://127.0.0.1:9/")

    service.remove_webhook(registry, ada, made[0])
    hook(registry, ada, "http://127.0.0.1:9/")
