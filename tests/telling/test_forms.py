"""Forms of events: found in their folder and in other distributions, and what a webhook has of them."""

import json

import pytest

from deltareg.api.telling import Pace, telling
from deltareg.db.session import write
from deltareg.errors import InvalidInput, Misconfigured
from deltareg.service.events import Action
from deltareg.service.telling import webhooks as service
from deltareg.service.telling.deliveries import list_deliveries
from deltareg.service.telling.forms import GROUP, all_forms, find_form
from tests.plug_ins import install
from tests.telling.told import LINE, happen, hook, owner_of_lab, receiver, registry_on, until

QUICK = Pace(look_s=0.02, lease_s=1.0, timeout_s=20.0, pauses_s=(0.05,) * 200, give_up_s=60)
PLUG_IN = """
from deltareg.service.telling.event_form import EventForm

PAGER = EventForm("pager", "text/plain; charset=utf-8", "For pagers.", lambda event: event.subject.encode())
BROKEN = EventForm("broken", "text/plain", "For nobody.", lambda event: event.nothing)
TAKEN = EventForm("slack", "text/plain", "For nobody.", lambda event: b"x")
"""


@pytest.fixture
def fresh_forms():
    """Look for forms anew in a test, and after it."""
    all_forms.cache_clear()
    yield
    all_forms.cache_clear()


@pytest.fixture
def pager(tmp_path, monkeypatch, fresh_forms):
    """Install a distribution that brings two forms."""
    points = "pager = pager:PAGER\nbroken = pager:BROKEN"
    return install(tmp_path, monkeypatch, "pager", PLUG_IN, {GROUP: points})


def test_a_form_of_another_distribution_is_what_its_webhook_gets(pager, engine):
    registry, ada = registry_on(engine), owner_of_lab(engine)
    with receiver() as here:
        hook_id, _ = hook(registry, ada, here.url, form="pager")
        happen(registry, ada, ["lab/x@prod"])
        with telling(registry, QUICK):
            until(lambda: here.got, "it arrived")

    (got,) = here.got
    assert (got.headers["content-type"], got.body) == ("text/plain; charset=utf-8", b"lab/x@prod")
    assert service.show_webhook(registry, ada, hook_id).form == "pager"


def test_a_form_that_nobody_brings_is_refused_with_those_that_there_are(sqlite_engine):
    registry, ada = registry_on(sqlite_engine), owner_of_lab(sqlite_engine)

    with pytest.raises(InvalidInput, match="writes no form 'pager'") as refused:
        hook(registry, ada, "http://127.0.0.1:9/", form="pager")

    assert refused.value.fix == "use cloudevents, slack, teams"


def test_deliveries_say_what_their_form_is_wanting(pager, sqlite_engine, monkeypatch):
    registry, ada = registry_on(sqlite_engine), owner_of_lab(sqlite_engine)
    with receiver() as here:
        gone, broken, good = (hook(registry, ada, here.url, form=name)[0] for name in ("pager", "broken", "slack"))
        happen(registry, ada, ["lab/x@prod"])
        monkeypatch.delitem(dict_of(all_forms()), "pager")
        with telling(registry, QUICK):
            until(lambda: here.got and all(told(registry, ada, one) for one in (gone, broken)), "all were tried")

        with pytest.raises(InvalidInput, match="no form 'pager'"):
            service.try_webhook(registry, ada, gone)
    assert "writes no form 'pager'; use broken, cloudevents" in told(registry, ada, gone)
    assert "cannot write dev.deltareg.channel.promoted: AttributeError" in told(registry, ada, broken)
    assert told(registry, ada, good) == ""


def test_two_forms_of_one_name_are_told_apart_by_nobody(tmp_path, monkeypatch, fresh_forms):
    install(tmp_path, monkeypatch, "pager", PLUG_IN, {GROUP: "slack = pager:TAKEN"})

    with pytest.raises(Misconfigured, match="one name"):
        all_forms()


def test_the_teams_form_is_a_card_in_which_words_stay_words(sqlite_engine):
    registry, ada = registry_on(sqlite_engine), owner_of_lab(sqlite_engine)
    with receiver() as here:
        hook(registry, ada, here.url, form="teams")
        with write(registry.engine) as conn:
            after = {"version": 12, "reason": "better **bold** [x](https://y)"}
            ada.record(conn, Action.CHANNEL_ROLLBACK, "lab/x@prod", on=LINE, before=None, after=after)
        with telling(registry, QUICK):
            until(lambda: here.got, "it arrived")

    (attachment,) = json.loads(here.got[0].body)["attachments"]
    blocks = attachment["content"]["body"]
    assert {block["type"] for block in blocks} == {"RichTextBlock"}
    assert {run["type"] for block in blocks for run in block["inlines"]} == {"TextRun"}
    assert ["".join(run["text"] for run in block["inlines"]) for block in blocks] == [
        "lab/x@prod rolled back: v12, by ada",
        "better **bold** [x](https://y)",
    ]


def test_a_form_is_found_by_its_name(fresh_forms):
    assert [find_form(name).name for name in all_forms()] == ["cloudevents", "slack", "teams"]


def told(registry, caller, webhook_id):
    """Give what the last try of a webhook's first delivery came to."""
    page = list_deliveries(registry, caller, webhook_id, state=None, cursor=None, limit=10)
    return page.items[0].tries[-1].told if page.items and page.items[0].tries else ""


def dict_of(forms):
    """Give the forms as what may be changed: uninstalling is not for a test."""
    assert isinstance(forms, dict)
    return forms
