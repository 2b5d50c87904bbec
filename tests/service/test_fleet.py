"""The fleet: whose an agent's name is, what is kept of its reports, and what counts as drift."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import Forbidden, InvalidInput, NotFound
from deltareg.service.authority.grants import Grant, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.channels.fleet import list_followers
from deltareg.wire import AgentReport, Observed
from tests.fixtures.registries import SAMPLES
from tests.service import rows

LINE, PROD = "team/lora", "team/lora@prod"


@pytest.fixture
def maker(registry_server):
    """Put v1 of `team/lora` on prod."""
    return registry_server.line("lora")


@pytest.fixture
def host(registry_server, maker):
    return registry_server.client(("read", "serve"), principal="host")


def report(client, *observed, name="host-1", every_s=10):
    body = AgentReport(engine="dir", every_s=every_s, serves=list(observed))
    client._api.send("PUT", f"/fleet/agents/{name}", body=body)


def serving(client, version=1, channel=PROD, **more):
    shown = client.show(f"{LINE}:v{version}")
    fields = {"channel": channel, "revision": 1, "version": version, "digest": shown.digest}
    return Observed.model_validate(fields | more)


def drifts(client, of=None):
    return {(f.agent, f.channel): f.drift for f in client.fleet.list(of).items}


def looks(asked):
    return [one for one in asked if one.startswith("SELECT")]


def test_what_is_reported_is_shown_beside_what_the_channel_says(maker, host):
    report(host, serving(host))

    (found,) = maker.fleet.list(PROD).items

    assert (found.agent, found.owner, found.channel) == ("host-1", "host", PROD)
    assert (found.version, found.desired_version, found.drift) == (1, 1, "none")
    assert found.digest == found.desired_digest
    assert found.seen_age_s < 60


def test_since_stays_while_nothing_changes(maker, host):
    report(host, serving(host))
    (first,) = maker.fleet.list().items
    report(host, serving(host))
    (same,) = maker.fleet.list().items
    report(host, serving(host, state="failed", error="no room"))
    (failed,) = maker.fleet.list().items

    assert same.since == first.since
    assert same.seen_at >= first.seen_at
    assert failed.since >= same.since
    assert (failed.drift, failed.error) == ("failed", "no room")


def test_drift_has_four_answers(registry_server, maker, host):
    report(host, serving(host), name="fine")
    report(host, Observed(channel=PROD), name="behind")
    report(host, serving(host, state="failed", error="x"), name="failed")
    report(host, serving(host), name="silent")
    with write(registry_server.registry.engine) as conn:
        early = sa.update(t.agents).where(t.agents.c.name == "silent")
        conn.execute(early.values(seen_at=t.agents.c.seen_at - 31_000_000))

    assert drifts(maker) == {
        ("fine", PROD): "none",
        ("behind", PROD): "behind",
        ("failed", PROD): "failed",
        ("silent", PROD): "silent",
    }


def test_who_serves_what_was_revoked_is_not_in_step(registry_server, maker, host):
    report(host, serving(host))
    report(host, Observed(channel=PROD), name="empty")

    maker.versions.revoke(f"{LINE}:v1", reason="wrong data", even_if_served=True)
    revoked = {f.agent: (f.drift, f.is_revoked) for f in maker.fleet.list()}
    maker.versions.unrevoke(f"{LINE}:v1", reason="it was another one")

    assert revoked == {"host-1": ("behind", True), "empty": ("behind", False)}
    assert drifts(maker)["host-1", PROD] == "none"


def test_who_serves_a_version_is_found_by_its_name_and_by_its_digest(registry_server, maker, host):
    maker.push(SAMPLES / "deltas" / "tinyllama" / "lora_v2", LINE, base="tinyllama", golden=False)
    registry_server.verified(f"{LINE}:v2")
    maker.promote(f"{LINE}:v2", "prod")
    report(host, serving(host, 1), name="old")
    report(host, serving(host, 2, revision=2), name="new")
    digest = maker.show(f"{LINE}:v1").digest

    def agents(of):
        return [found.agent for found in maker.fleet.list(of)]

    assert agents(f"{LINE}:v1") == agents(f"{LINE}@{digest}") == ["old"]
    assert agents(f"{LINE}@prod~1") == ["old"]
    assert agents(digest) == agents(f"{digest[:15]}…") == ["old"]
    assert agents(LINE) == agents(PROD) == ["old", "new"]
    assert agents("sha256:0000") == []
    with pytest.raises(NotFound):
        agents(f"{LINE}:v7")


def test_a_digest_finds_nobody_in_a_line_that_is_not_in_sight(registry_server, maker, host):
    report(host, serving(host))
    registry = registry_server.registry
    digest = maker.show(f"{LINE}:v1").digest

    def found(*grants):
        caller = replace(rows.caller(registry.engine), grants=frozenset(grants))
        return len(list_followers(registry, caller, digest, cursor=None, limit=10).items)

    assert found(Grant(Right.READ, Namespace("team"))) == 1
    assert found(Grant(Right.READ, Namespace("lab"))) == 0


def test_a_report_replaces_the_one_before(maker, host):
    dev = Observed(channel=f"{LINE}@dev")
    report(host, serving(host), dev)
    assert len(maker.fleet.list(LINE).items) == 2

    report(host, dev)

    assert drifts(maker, LINE) == {("host-1", f"{LINE}@dev"): "none"}
    assert drifts(maker, PROD) == {}
    report(host)
    assert drifts(maker) == {}


def test_a_report_of_more_channels_looks_for_them_no_more_often(registry_server, maker, host):
    prod, dev = serving(host), Observed(channel=f"{LINE}@dev")
    staging = Observed(channel=f"{LINE}@staging")

    with rows.asked(registry_server.registry.engine) as few:
        report(host, prod)
    with rows.asked(registry_server.registry.engine) as many:
        report(host, prod, dev, staging)

    assert len(maker.fleet.list(LINE).items) == 3
    assert len(looks(many)) == len(looks(few))


def test_a_name_is_its_principals(registry_server, maker, host):
    report(host, serving(host))
    other = registry_server.client(("read", "serve"), principal="other")

    with pytest.raises(Forbidden, match="agent of another principal"):
        report(other, Observed(channel=PROD))
    with pytest.raises(Forbidden):
        other.fleet.forget("host-1")

    assert [f.owner for f in maker.fleet.list().items] == ["host"]
    host.fleet.forget("host-1")
    assert maker.fleet.list().items == []
    assert maker.audit.list(action="agent.forget").items[0].subject == "agent/host-1"
    with pytest.raises(NotFound):
        host.fleet.forget("host-1")


def test_an_admin_forgets_the_agents_of_others(registry_server, maker, host):
    report(host, serving(host))

    maker.fleet.forget("host-1")

    assert maker.fleet.list().items == []


@pytest.mark.parametrize("channel", [LINE, f"{LINE}:v1", f"{LINE}@prod~1", "x", f"h/{PROD}"])
def test_what_names_no_channel_is_refused(host, channel):
    with pytest.raises(InvalidInput):
        report(host, Observed(channel=channel))


def test_a_channel_that_is_not_there_is_refused(maker, host):
    with pytest.raises(NotFound):
        report(host, Observed(channel=f"{LINE}@absent"))
    with pytest.raises(NotFound):
        maker.fleet.list(f"{LINE}@absent")
    with pytest.raises(InvalidInput, match="not a name for an agent"):
        report(host, name="Host One")


def test_pages_go_on_where_they_ended(maker, host):
    for number in range(5):
        report(host, serving(host), name=f"host-{number}")

    first = maker.fleet.list(limit=3)
    rest = maker.fleet.list(cursor=first.next_cursor, limit=3)

    assert [f.agent for f in (*first.items, *rest.items)] == [f"host-{n}" for n in range(5)]
    assert rest.next_cursor is None
