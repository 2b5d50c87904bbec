"""Waivers: who may give one, of what, until when, and where it is shown."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.clock import now_us
from deltareg.db.session import write
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound

END = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT00:00:00Z}"


@pytest.fixture
def failed(registry_server):
    """Give a client of another person than the pusher, and a verdict that failed `effect`."""
    registry_server.line("lora").verify("team/lora:v1", again=True)
    verdict = registry_server.verified("team/lora:v1", verdict="fail", again=True)
    return registry_server.client(("read", "promote", "admin"), principal="bob"), verdict


def outcome(client):
    return [rule.rule for rule in client.gate("team/lora:v1", "dev").unmet]


def test_a_waived_check_does_not_fail_and_is_shown_everywhere(failed):
    bob, verdict = failed
    assert outcome(bob) == ["failed"]

    given = bob.verdicts.waive(verdict.id, "effect", reason="known", expires="1h")

    assert outcome(bob) == []
    (waiver,) = given.waivers
    assert (waiver.check, waiver.created_by, waiver.reason, waiver.stands) == (
        "effect", "bob", "known", True,
    )  # fmt: skip
    assert bob.verdicts.show(verdict.id).waivers == given.waivers
    assert bob.verdicts.list("team/lora:v1").items[0].waivers == given.waivers
    assert bob.runs.show(verdict.run).verdict.waivers == given.waivers
    assert bob.channels.show("team/lora", "prod").waivers == given.waivers
    told = [rule.message for rule in bob.gate("team/lora:v1", "dev").rules]
    assert any("effect waived until" in message and "known" in message for message in told)
    assert bob.audit.list(action="verdict.waive").items[0].after["check"] == "effect"
    with pytest.raises(Conflict):
        bob.verdicts.waive(verdict.id, "effect", reason="once more")

    ended = bob.verdicts.unwaive(verdict.id, "effect")

    assert (ended.waivers[0].stands, ended.waivers[0].revoked_by) == (False, "bob")
    assert outcome(bob) == ["failed"]
    with pytest.raises(NotFound):
        bob.verdicts.unwaive(verdict.id, "effect")


def test_an_expired_waiver_fails_again_and_its_words_stay(failed, registry_server):
    bob, verdict = failed
    engine = registry_server.registry.engine
    bob.verdicts.waive(verdict.id, "effect", reason="known", expires=END)
    change = sa.update(t.waivers).values(expires_at=now_us() - 1)

    with pytest.raises(sa.exc.DBAPIError, match="kept"), write(engine) as conn:
        conn.execute(change)
    with pytest.raises(sa.exc.DBAPIError, match="kept"), write(engine) as conn:
        conn.execute(sa.delete(t.waivers))
    with write(engine) as conn:
        conn.execute(
            sa.insert(t.waivers).values(
                id="old", verdict_id=verdict.id, check_name="effect", reason="past",
                expires_at=now_us() - 1, actor_id=1,
            )
        )  # fmt: skip
    bob.verdicts.unwaive(verdict.id, "effect")

    assert outcome(bob) == ["failed"]
    assert [waiver.stands for waiver in bob.verdicts.show(verdict.id).waivers] == [False, False]


def test_who_pushed_it_cannot_waive_its_checks_with_any_token(failed, registry_server):
    _, verdict = failed
    maker = registry_server.client(("read", "promote", "admin"), principal="maker")

    with pytest.raises(Forbidden, match="maker pushed team/lora:v1"):
        maker.verdicts.waive(verdict.id, "effect", reason="mine")


@pytest.mark.parametrize(
    ("check", "end", "error", "message"),
    [
        ("finite", {}, InvalidInput, "finite is never waived"),
        ("norm_ratio", {}, InvalidInput, "norm_ratio did not fail"),
        ("nonsense", {}, NotFound, "has no check"),
        ("effect", {"expires": "2020-01-01"}, InvalidInput, "a waiver ends within"),
        ("effect", {"expires": "2200-01-01"}, InvalidInput, "a waiver ends within"),
        ("effect", {"expires": "to-morrow"}, InvalidInput, "not a time"),
    ],
)
def test_what_cannot_be_waived_is_refused(failed, check, end, error, message):
    bob, verdict = failed

    with pytest.raises(error, match=message) as refused:
        bob.verdicts.waive(verdict.id, check, reason="why", **end)

    assert refused.value.fix
    assert outcome(bob) == ["failed"]
