"""`deltareg events` and `deltareg webhook`, as a person and a script see them."""

import json

import pytest

from deltareg.service.telling.number import number_all
from tests.service import rows
from tests.telling.told import SUBJECTS, happen, own, receiver


@pytest.fixture
def lab(local_registry):
    """Serve a registry in which three channels of `lab/x` moved."""
    engine = local_registry.registry.engine
    ada = rows.caller(engine)
    rows.line(engine, maker=ada)
    own(engine, ada)
    happen(local_registry.registry, ada, SUBJECTS)
    number_all(local_registry.registry)
    return local_registry


@pytest.fixture
def deltareg(lab, processes):
    """Run a command as ada; gives its status, output and errors."""
    token = lab.token("read", "admin", principal="ada")

    def run(*args):
        done = processes.deltareg(*args, server=lab.url, token=token)
        return done.wait(), done.output, done.errors

    return run


def test_events_are_listed_for_people_and_scripts(deltareg):
    status, shown, _ = deltareg("events", "ls", "lab/x")
    _, first, _ = deltareg("events", "ls", "lab/x", "--json")
    after = json.loads(first)["items"][0]["id"]
    _, listed, _ = deltareg("events", "ls", "lab", "--type", "channel.*", "--after", after, "--json")
    wrong, _, told = deltareg("events", "ls", "--type", "channel.eaten")

    assert status == 0
    for subject in SUBJECTS:
        assert f"channel.promoted  {subject}" in shown
    document = json.loads(listed)
    assert [item["subject"] for item in document["items"]] == list(SUBJECTS[1:])
    assert document["items"][0]["specversion"] == "1.0"
    assert document["next"]
    assert wrong == 2
    assert "no type of event 'channel.eaten'" in told


def test_a_webhook_is_made_tried_and_taken_away(deltareg):
    with receiver() as here:
        status, made, _ = deltareg("webhook", "add", "lab", f"{here.url}/secret", "--type", "channel.*", "--json")
        webhook_id = json.loads(made)["webhook"]["id"]
        tried, shown, _ = deltareg("webhook", "test", webhook_id)
    failed, told, _ = deltareg("webhook", "test", webhook_id)
    _, listed, _ = deltareg("webhook", "ls", "lab")
    _, rotated, _ = deltareg("webhook", "rotate", webhook_id, "--quiet")
    gone, _, _ = deltareg("webhook", "rm", webhook_id)
    refused, _, why = deltareg("webhook", "add", "lab", "http://10.0.0.1/")

    assert (status, tried, failed, gone, refused) == (0, 0, 10, 0, 2)
    assert here.got[0].checked(json.loads(made)["secret"])["subject"] == f"webhook/{webhook_id}"
    assert "arrived" in shown
    assert "cannot connect" in told
    assert webhook_id in listed
    assert "secret" not in listed
    assert rotated.split() == [webhook_id]
    assert "DELTAREG_WEBHOOK_NETWORKS=10.0.0.1/32" in why
