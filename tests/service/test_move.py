"""Moves of a channel: where a rollback leads, what it needs, and what keeps a version away."""

import threading

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import Blocked, Conflict, GatePending, Inconclusive, InvalidInput, NotFound, StaleRevision
from deltareg.service.channels.roll_back import NEAR
from deltareg.wire import ChannelMove, MoveResult
from tests.service import rows

DAY_US = 86_400 * 1_000_000


@pytest.fixture
def three(local_registry):
    """Promote v1, v2 and v3 of a line to `prod`, one after the other."""
    return local_registry.line("lora", "lora_v2", "lora_qv")


def back(client, **where):
    return client.rollback("team/lora", "prod", **where).version


def test_steps_back_go_down_what_was_promoted(three):
    assert back(three) == 2
    assert back(three) == 1
    with pytest.raises(NotFound, match="serves v1, and nothing before it is left to go back to") as refused:
        back(three)
    assert "it served v2, v3" in refused.value.fix
    assert refused.value.fix.endswith("deltareg rollback team/lora --channel prod --version v3")


def test_several_steps_at_once(three):
    assert back(three, steps=2) == 1
    with pytest.raises(NotFound):
        back(three, steps=1)


def test_more_steps_than_there_are_says_how_many_there_are(three):
    with pytest.raises(NotFound, match="can go back 2 steps, not 7") as refused:
        back(three, steps=7)

    assert refused.value.fix.startswith("deltareg rollback team/lora --channel prod --steps 2")


def test_a_version_that_it_never_served_is_refused_with_those_that_it_served(three):
    with pytest.raises(NotFound, match="never served v9") as refused:
        back(three, version=9)

    assert refused.value.fix.startswith("it served v1, v2: ")


def test_what_was_rolled_away_from_is_never_come_back_to(three):
    back(three)  # v3 is bad; v2 serves
    back(three)  # v2 is bad as well; v1 serves
    three.channels.clear_quarantine("team/lora", "prod", 3, reason="it was not")
    three.promote("team/lora:v3", "prod")

    assert back(three) == 1, "v2 stood before v3 once, and was rolled away from since"


def test_a_version_or_a_revision_can_be_named(three):
    assert back(three, version=1) == 1
    assert three.channels.show("team/lora", "prod").quarantined == [3]
    assert back(three, revision=2) == 2


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({"version": 9}, NotFound),
        ({"revision": 9}, NotFound),
        ({"revision": 0}, NotFound),
        ({"steps": 3}, NotFound),
        ({"version": 3}, Conflict),
        ({"revision": 3}, Conflict),
    ],
)
def test_targets_that_are_none(three, where, error):
    with pytest.raises(error):
        back(three, **where)

    assert three.channels.show("team/lora", "prod").revision == 3


def test_a_channel_that_never_served_cannot_go_back(three):
    with pytest.raises(NotFound, match="nothing to roll back"):
        three.rollback("team/lora", "dev")
    with pytest.raises(NotFound, match="has no channel"):
        three.rollback("team/lora", "absent")
    with pytest.raises(NotFound, match="no delta"):
        three.rollback("team/absent", "prod")


def test_a_plan_changes_nothing(three):
    before = three.channels.show("team/lora", "prod"), three.audit.list(limit=1).items[0].id
    runs = len(three.runs.list().items)

    plan = three.rollback("team/lora", "prod", dry_run=True)

    assert (plan.version, plan.previous, plan.revision) == (2, 3, 4)
    assert (three.channels.show("team/lora", "prod"), three.audit.list(limit=1).items[0].id) == before
    assert len(three.runs.list().items) == runs


def test_a_rollback_out_of_the_window_meets_the_gate(local_registry, three):
    for version in (2, 3, 2, 3):  # v1 left six revisions ago
        three.promote(f"team/lora:v{version}", "prod")
    local_registry.verified("team/lora:v1", verdict="inconclusive", again=True)
    assert three.rollback("team/lora", "prod", version=1, dry_run=True).version == 1
    long_ago(local_registry.registry.engine)

    with pytest.raises(Inconclusive):
        back(three, version=1)
    assert back(three) == 2


def test_a_version_that_was_frozen_many_times_leaves_the_window_as_others_do(local_registry, three):
    back(three, version=1)
    for _ in range(NEAR // 2):
        three.channels.freeze("team/lora", "prod", reason="a launch")
        three.channels.unfreeze("team/lora", "prod", reason="it is over")
    three.channels.clear_quarantine("team/lora", "prod", 3, reason="it was not")
    for version in (2, 3, 2, 3, 2, 3):
        three.promote(f"team/lora:v{version}", "prod")
    local_registry.verified("team/lora:v1", verdict="inconclusive", again=True)
    long_ago(local_registry.registry.engine)

    with pytest.raises(Inconclusive):
        back(three, version=1)


def long_ago(engine):
    """Let all that happened have happened two months earlier; the ledger refuses changes."""
    with write(engine) as conn, rows.unguarded(conn, t.revisions):
        earlier = t.revisions.c.created_at - 60 * DAY_US
        conn.execute(sa.update(t.revisions).values(created_at=earlier))


def test_the_ledger_is_append_only(local_registry, three):
    engine = local_registry.registry.engine
    for statement in (
        sa.update(t.revisions).values(reason="x"),
        sa.delete(t.revisions),
        sa.update(t.audit).values(actor="x"),
        sa.delete(t.audit),
    ):
        with pytest.raises(sa.exc.DBAPIError), write(engine) as conn:
            conn.execute(statement)


def test_of_many_moves_at_once_one_wins(registry_server):
    registry_server.line("lora", "lora_v2")
    clients = [registry_server.client(principal=name) for name in "abcd"]
    together, found = threading.Barrier(4), []

    def run(client):
        together.wait()
        try:
            found.append(client.rollback("team/lora", "prod").revision)
        except (StaleRevision, NotFound) as error:
            found.append(type(error))

    threads = [threading.Thread(target=run, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found.count(3) == 1
    assert clients[0].channels.show("team/lora", "prod").revision == 3


def test_a_verdict_of_another_suite_does_not_count(local_registry):
    client = local_registry.line("lora")
    with write(local_registry.registry.engine) as conn, rows.unguarded(conn, t.verdicts):
        conn.execute(sa.update(t.verdicts).values(suite_digest=f"sha256:{'7' * 64}"))

    with pytest.raises(GatePending):
        client.promote("team/lora:v1", "dev")
    assert [verdict.counts for verdict in client.verdicts.list("team/lora:v1").items] == [False]


def test_a_revoked_version_goes_nowhere(local_registry):
    client = local_registry.line("lora", "lora_v2")
    client.versions.revoke("team/lora:v1", reason="wrong data")

    with pytest.raises(Blocked, match=r"v1 was revoked by maker at .*: wrong data"):
        client.promote("team/lora:v1", "dev")
    with pytest.raises(Blocked, match=r"v1 was revoked by maker at .*: wrong data"):
        back(client)


@pytest.mark.parametrize(
    ("move", "match"),
    [
        ({"kind": "promote"}, "names a version"),
        ({"kind": "freeze"}, "takes a reason"),
        ({"kind": "unfreeze"}, "takes a reason"),
        ({"kind": "freeze", "reason": "x", "version": 1}, "names no version"),
        ({"kind": "freeze", "reason": "x", "until": "2020-01-01"}, "has passed"),
        ({"kind": "freeze", "reason": "x", "until": "soon"}, "not a time"),
        ({"kind": "promote", "version": 1, "until": "2099-01-01"}, "only a freeze"),
        ({"kind": "unfreeze", "reason": "x", "until": "2099-01-01"}, "only a freeze"),
    ],
)
def test_moves_that_are_none(shared_registry, move, match):
    client = shared_registry.client()
    path, headers = "/deltas/team/lora/channels/prod/revisions", {"If-Match": '"r1"'}

    with pytest.raises(InvalidInput, match=match):
        client._api.post(path, ChannelMove.model_validate(move), MoveResult, headers=headers)

    assert client.channels.show("team/lora", "prod").revision == 1


def test_channels_are_named(three):
    assert [c.channel for c in three.channels.list("team/lora").items] == ["dev", "staging", "prod"]
    assert three.channels.create("team/lora", "eu-west").revision == 0
    for name in ("v3", "1.0.0", "latest", "sha256x", "A", "a/b", "..", ""):
        with pytest.raises(InvalidInput):
            three.channels.create("team/lora", name)


def test_only_what_stands_can_be_cleared(three):
    with pytest.raises(NotFound, match="not quarantined"):
        three.channels.clear_quarantine("team/lora", "prod", 1, reason="x")
    back(three)
    with pytest.raises(InvalidInput):
        three.channels.clear_quarantine("team/lora", "prod", 3, reason="")

    three.channels.clear_quarantine("team/lora", "prod", 3, reason="x")

    assert three.channels.show("team/lora", "prod").quarantined == []
