"""Waivers: who may give one, of what, where and until when, and where it is shown."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound

END = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT00:00:00Z}"
CHECK = "deterministic"


@pytest.fixture
def failed(registry_server):
    """Give a client of another person than the pusher, and a verdict that failed one check."""
    registry_server.line("lora").verify("team/lora:v1", again=True)
    verdict = registry_server.verified("team/lora:v1", verdict="fail", fail=CHECK, again=True)
    return registry_server.client(("read", "promote", "admin"), principal="bob"), verdict


def outcome(client, channel="dev"):
    return [rule.rule for rule in client.gate("team/lora:v1", channel).unmet]


def test_a_waived_check_does_not_fail_and_is_shown_everywhere(failed):
    bob, verdict = failed
    assert outcome(bob) == ["failed"]

    given = bob.verdicts.waive(verdict.id, CHECK, channel="dev", reason="known", expires="1h")

    assert outcome(bob) == []
    (waiver,) = given.waivers
    assert (waiver.check, waiver.channel, waiver.created_by, waiver.reason, waiver.stands) == (
        CHECK,
        "dev",
        "bob",
        "known",
        True,
    )
    assert given.continuation == ""  # nothing was left out, so there is nothing to run
    assert bob.verdicts.show(verdict.id).waivers == given.waivers
    assert bob.verdicts.list("team/lora:v1").items[0].waivers == given.waivers
    assert bob.runs.show(verdict.run).verdict.waivers == given.waivers
    told = [rule.message for rule in bob.gate("team/lora:v1", "dev").rules]
    assert any(f"{CHECK} waived until" in message and "known" in message for message in told)
    assert bob.audit.list(action="verdict.waive").items[0].after["channel"] == "dev"
    with pytest.raises(Conflict):
        bob.verdicts.waive(verdict.id, CHECK, channel="dev", reason="once more")

    ended = bob.verdicts.unwaive(verdict.id, CHECK)

    assert (ended.waivers[0].stands, ended.waivers[0].revoked_by) == (False, "bob")
    assert outcome(bob) == ["failed"]
    with pytest.raises(NotFound):
        bob.verdicts.unwaive(verdict.id, CHECK)


def test_a_waiver_counts_on_its_channel_alone(failed):
    bob, verdict = failed

    bob.verdicts.waive(verdict.id, CHECK, channel="dev", reason="known")

    assert (outcome(bob, "dev"), outcome(bob, "prod")) == ([], ["failed"])
    bob.verdicts.waive(verdict.id, CHECK, channel="prod", reason="there as well")
    with pytest.raises(NotFound, match="not waived for staging"):
        bob.verdicts.unwaive(verdict.id, CHECK, channel="staging")
    bob.verdicts.unwaive(verdict.id, CHECK, channel="dev")
    assert (outcome(bob, "dev"), outcome(bob, "prod")) == (["failed"], [])
    assert [waiver.check for waiver in bob.channels.show("team/lora", "prod").waivers] == [CHECK]


def test_an_expired_waiver_fails_again_and_its_words_stay(failed, registry_server):
    bob, verdict = failed
    engine = registry_server.registry.engine
    bob.verdicts.waive(verdict.id, CHECK, channel="dev", reason="known", expires=END)
    change = sa.update(t.waivers).values(expires_at=now_us() - 1)
    moved = sa.update(t.waiver_channels).values(channel_id=1)

    with pytest.raises(sa.exc.DBAPIError, match="kept"), write(engine) as conn:
        conn.execute(change)
    with pytest.raises(sa.exc.DBAPIError, match="kept"), write(engine) as conn:
        conn.execute(sa.delete(t.waivers))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), write(engine) as conn:
        conn.execute(moved)
    with write(engine) as conn:
        conn.execute(
            sa.insert(t.waivers).values(
                id="old", verdict_id=verdict.id, check_name=CHECK, reason="past", expires_at=now_us() - 1, actor_id=1
            )
        )
    bob.verdicts.unwaive(verdict.id, CHECK)

    assert outcome(bob) == ["failed"]
    assert [waiver.stands for waiver in bob.verdicts.show(verdict.id).waivers] == [False, False]


def test_a_waiver_of_the_release_before_counts_on_every_channel(failed, registry_server):
    bob, verdict = failed
    with write(registry_server.registry.engine) as conn:
        conn.execute(
            sa.insert(t.waivers).values(
                id="old",
                verdict_id=verdict.id,
                check_name=CHECK,
                reason="before",
                expires_at=now_us() + 10**9,
                actor_id=1,
            )
        )

    assert (outcome(bob, "dev"), outcome(bob, "prod")) == ([], [])
    assert bob.verdicts.show(verdict.id).waivers[0].channel == ""


def test_who_pushed_it_cannot_waive_its_checks_with_any_token(failed, registry_server):
    _, verdict = failed
    maker = registry_server.client(("read", "promote", "admin"), principal="maker")

    with pytest.raises(Forbidden, match="maker pushed team/lora:v1"):
        maker.verdicts.waive(verdict.id, CHECK, channel="dev", reason="mine")


@pytest.mark.parametrize(
    ("check", "where", "error", "message"),
    [
        ("finite", {}, InvalidInput, "finite is never waived"),
        ("idle", {}, InvalidInput, "idle is never waived"),
        ("effect", {}, InvalidInput, "effect is never waived"),
        ("exercised", {}, InvalidInput, "exercised is never waived"),
        ("reloads", {}, InvalidInput, "reloads is never waived"),
        ("norm_ratio", {}, InvalidInput, "norm_ratio did not fail"),
        ("nonsense", {}, NotFound, "has no check"),
        (CHECK, {"channel": "elsewhere"}, NotFound, "no channel"),
        (CHECK, {"expires": "2020-01-01"}, InvalidInput, "a waiver ends within"),
        (CHECK, {"expires": "2200-01-01"}, InvalidInput, "a waiver ends within"),
        (CHECK, {"expires": "to-morrow"}, InvalidInput, "not a time"),
    ],
)
def test_what_cannot_be_waived_is_refused(failed, check, where, error, message):
    bob, verdict = failed

    with pytest.raises(error, match=message) as refused:
        bob.verdicts.waive(verdict.id, check, **{"channel": "dev", "reason": "why", **where})

    assert refused.value.fix
    assert outcome(bob) == ["failed"]


def test_a_client_that_names_no_channel_is_told_to(failed, registry_server):
    _, verdict = failed
    http = registry_server.http(registry_server.token("promote", principal="bob"))

    answer = http.post(f"/verdicts/{verdict.id}/waivers", json={"check": CHECK, "reason": "as ever"})

    assert answer.status_code == 422
    assert "for which channel" in answer.text
    assert "prod" in answer.text
