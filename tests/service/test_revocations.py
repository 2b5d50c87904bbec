"""Revoking a version: what refuses it then, who is told what, and races with promotions."""

import threading

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import revocations as queries
from deltareg.db.lines.versions import lock_version
from deltareg.db.session import write
from deltareg.errors import Blocked, Conflict, Forbidden, InvalidInput

V1, V2 = "team/lora:v1", "team/lora:v2"


@pytest.fixture
def two(registry_server):
    """Promote v1 and v2 of a line to `prod`, one after the other."""
    return registry_server.line("lora", "lora_v2")


def test_a_revoked_version_is_refused_with_who_when_and_why(two):
    two.versions.revoke(V1, reason="wrong data")

    with pytest.raises(Blocked, match=r"v1 was revoked by maker at 20.*Z: wrong data") as refused:
        two.promote(V1, "dev")
    assert f"deltareg unrevoke {V1} -m REASON" in refused.value.fix
    assert [unmet.rule for unmet in two.gate(V1, "dev").unmet] == ["revoked"]
    with pytest.raises(Blocked, match="wrong data"):
        two.rollback("team/lora", "prod")


def test_it_is_shown_listed_logged_and_audited(two):
    two.versions.revoke(V1, reason="wrong data")
    two.versions.unrevoke(V1, reason="it was the right one")
    two.versions.revoke(V1, reason="it was not")

    shown, listed = two.show(V1), two.versions.list("team/lora").items[1]
    log = [(entry.event, entry.ref, entry.text) for entry in two.lines.log("team/lora").items[:3]]
    audit = [row.action for row in two.audit.list(subject=V1).items[:3]]

    assert shown.is_revoked
    assert shown.revocation == listed.revocation
    assert (shown.revocation.actor, shown.revocation.reason) == ("maker", "it was not")
    assert log == [("revoke", V1, "it was not"), ("unrevoke", V1, "it was the right one"), ("revoke", V1, "wrong data")]
    assert audit == ["version.revoke", "version.unrevoke", "version.revoke"]


def test_the_log_goes_on_where_a_page_ended(two):
    two.versions.revoke(V1, reason="a")
    two.versions.unrevoke(V1, reason="b")
    whole = two.lines.log("team/lora").items

    walked, cursor = [], None
    while True:
        page = two.lines.log("team/lora", cursor=cursor, limit=1)
        walked += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert walked == whole


def test_after_it_ended_the_gate_judges_as_before(two):
    two.versions.revoke(V1, reason="wrong data")

    ended = two.versions.unrevoke(V1, reason="it was the right one")

    assert (ended.is_revoked, ended.revocation) == (False, None)
    assert two.promote(V1, "dev").version == 1


def test_doing_it_twice_changes_nothing(two):
    first = two.versions.revoke(V1, reason="wrong data")
    again = two.versions.revoke(V1, reason="another reason")
    once = two.versions.unrevoke(V1, reason="cleared")
    twice = two.versions.unrevoke(V1, reason="cleared")

    assert first == again
    assert once == twice
    assert len([e for e in two.lines.log("team/lora").items if "revoke" in e.event]) == 2


def test_what_a_channel_serves_is_revoked_only_when_that_is_said(two):
    two.promote(V2, "staging")

    with pytest.raises(Conflict, match="v2 is what staging, prod serves") as refused:
        two.versions.revoke(V2, reason="wrong data")
    assert "deltareg rollback team/lora --channel staging" in refused.value.fix
    assert not two.show(V2).is_revoked

    two.versions.revoke(V2, reason="wrong data", even_if_served=True)

    assert two.show("team/lora@prod").is_revoked
    assert [c.is_revoked for c in two.channels.list("team/lora").items] == [False, True, True]


def test_who_pulls_gets_the_bytes_and_is_told(two, tmp_path):
    two.versions.revoke(V2, reason="wrong data", even_if_served=True)

    fetched = two.pull("team/lora@prod", tmp_path / "a")
    again = two.pull("team/lora@prod", tmp_path / "a")
    updated = two.folders.update(tmp_path / "a", V1)

    assert (fetched.revocation.reason, again.revocation.reason) == ("wrong data",) * 2
    assert fetched.to_dict()["revocation"]["actor"] == "maker"
    assert updated.revocation is None


def test_a_rollback_leads_away_from_it(two):
    two.versions.revoke(V2, reason="wrong data", even_if_served=True)

    assert two.rollback("team/lora", "prod").version == 1


def test_one_version_is_named_and_a_reason_given(registry_server, two):
    for ref, reason, error in (("team/lora", "x", InvalidInput), (V1, "", InvalidInput)):
        with pytest.raises(error):
            two.versions.revoke(ref, reason=reason)
        with pytest.raises(error):
            two.versions.unrevoke(ref, reason=reason)
    with pytest.raises(Forbidden, match="'promote'"):
        registry_server.client(("read", "push")).versions.revoke(V1, reason="x")


def test_a_deleted_version_is_not_revoked(registry_server, two):
    two.rollback("team/lora", "prod")
    two.versions.delete(V2)

    with pytest.raises(Blocked, match="v2 is deleted"):
        two.versions.revoke(V2, reason="x")


@pytest.mark.parametrize("number", range(6))
def test_of_a_promotion_and_a_revocation_the_later_sees_the_earlier(registry_server, two, number):
    """Neither order lets a channel serve what was revoked before, unless somebody said so."""
    clients = [registry_server.client(principal=name) for name in "ab"]
    together, ended = threading.Barrier(2), {}

    def run(name, act):
        together.wait()
        try:
            act()
        except (Blocked, Conflict) as error:
            ended[name] = error

    promote = (f"p{number}", lambda: clients[0].promote(V1, "dev", reason="race"))
    revoke = ("revoke", lambda: clients[1].versions.revoke(V1, reason="race"))
    threads = [threading.Thread(target=run, args=actor) for actor in (promote, revoke)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ended) == 1, "one of the two is refused, whichever came later"
    serves = two.channels.show("team/lora", "dev").version == 1
    assert two.show(V1).is_revoked != serves


def test_a_promotion_under_way_sees_a_revocation_that_commits_first(registry_server, two):
    refused: list[str] = []

    def promote():
        try:
            two.promote(V1, "dev")
        except Blocked as error:
            refused.append(error.message)

    promotion = threading.Thread(target=promote)
    with write(registry_server.registry.engine) as conn:
        query = sa.select(t.versions.c.id).where(t.versions.c.number == 1)
        version_id = conn.execute(query).scalar_one()
        lock_version(conn, version_id)
        promotion.start()
        promotion.join(0.5)
        has_waited = promotion.is_alive()
        queries.revoke(conn, version_id, actor_id=1, reason="wrong data")
    promotion.join()

    assert has_waited
    assert len(refused) == 1
    assert "wrong data" in refused[0]
