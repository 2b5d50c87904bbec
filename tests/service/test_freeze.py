"""Freezing a channel: what is refused then, what is served on, and how it ends."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.channels import channels as queries
from deltareg.db.session import write
from deltareg.errors import Blocked, Conflict, Forbidden, NotFound, StaleRevision
from tests.fixtures.processes import until

PROD = ("team/lora", "prod")
TO_COME = "2099-01-02T03:04:05Z"


@pytest.fixture
def two(registry_server):
    """Promote v1 and v2 of a line to `prod`, one after the other."""
    return registry_server.line("lora", "lora_v2")


def test_a_frozen_channel_is_not_moved_and_says_why(two):
    two.channels.freeze(*PROD, reason="release week", until=TO_COME)

    told = r"prod was frozen by maker at 20.*Z until 2099-01-02T03:04:05Z: release week"
    with pytest.raises(Blocked, match=told) as refused:
        two.promote("team/lora:v1", "prod")
    assert refused.value.fix.endswith("deltareg channel unfreeze team/lora prod -m REASON")
    for is_dry in (True, False):
        with pytest.raises(Blocked, match=told):
            two.rollback(*PROD, dry_run=is_dry)
    assert [unmet.rule for unmet in two.gate("team/lora:v1", "prod").unmet] == ["frozen"]
    assert two.promote("team/lora:v1", "dev").version == 1


def test_it_serves_on_what_it_served(two, tmp_path):
    frozen = two.channels.freeze(*PROD, reason="release week")

    shown = two.channels.show(*PROD)
    assert (frozen.version, frozen.previous, frozen.revision) == (2, 2, 3)
    assert (shown.ref, shown.revision, shown.kind) == ("team/lora:v2", 3, "freeze")
    assert two.show("team/lora@prod").channels == ["prod"]
    assert two.pull("team/lora@prod", tmp_path / "a").ref == "team/lora:v2"
    assert two.lines.list().items[0].channels == {"prod": 2}
    with pytest.raises(Conflict, match="is what prod serves"):
        two.versions.delete("team/lora:v2")


def test_it_is_shown_in_the_ledger_the_log_and_the_audit_trail(two):
    two.channels.freeze(*PROD, reason="release week", until=TO_COME)
    two.channels.unfreeze(*PROD, reason="done early")

    ledger = [(r.kind, r.version, r.reason, r.until) for r in two.channels.history(*PROD).items[:2]]
    log = [(e.event, e.channel, e.text) for e in two.lines.log("team/lora").items[:2]]
    audit = [row.action for row in two.audit.list(subject="team/lora@prod").items[:2]]

    assert ledger == [("unfreeze", 2, "done early", None), ("freeze", 2, "release week", "2099-01-02T03:04:05.000000Z")]
    assert log == [("unfreeze", "prod", "done early"), ("freeze", "prod", "release week")]
    assert audit == ["channel.unfreeze", "channel.freeze"]


def test_what_was_frozen_then_is_seen_afterwards(two):
    two.channels.freeze(*PROD, reason="release week")
    then = two.channels.show(*PROD).at
    two.channels.unfreeze(*PROD, reason="done")

    before, now = two.channels.show(*PROD, at=then), two.channels.show(*PROD)

    assert (before.is_frozen, before.version) == (True, 2)
    assert (now.is_frozen, now.version) == (False, 2)


def test_after_it_was_ended_it_moves_as_before(two):
    two.channels.freeze(*PROD, reason="release week")
    two.channels.unfreeze(*PROD, reason="done")

    assert two.rollback(*PROD).version == 1
    assert two.channels.show(*PROD).quarantined == [2]
    with pytest.raises(NotFound):
        two.rollback(*PROD)
    assert two.rollback(*PROD, revision=3, dry_run=True).version == 2


def test_a_freeze_that_has_ended_by_itself_refuses_nothing(registry_server, two):
    two.channels.freeze(*PROD, reason="release week", until=TO_COME)
    ended(registry_server.registry.engine)

    shown = two.channels.show(*PROD)

    assert (shown.is_frozen, shown.kind) == (False, "freeze")
    with pytest.raises(Conflict, match="is not frozen"):
        two.channels.unfreeze(*PROD, reason="done")
    assert two.gate("team/lora:v1", "prod").allowed
    assert two.rollback(*PROD).version == 1


def test_a_freeze_ends_when_its_time_comes(registry_server, two):
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    two.channels.freeze(*PROD, reason="a moment", until=soon.isoformat())
    with pytest.raises(Blocked, match="a moment"):
        two.rollback(*PROD)

    until(lambda: not two.channels.show(*PROD).is_frozen, "the freeze has ended", pause_s=0.1)

    assert two.rollback(*PROD).version == 1


def test_a_frozen_channel_can_be_frozen_for_longer(two):
    two.channels.freeze(*PROD, reason="release week", until=TO_COME)
    two.channels.freeze(*PROD, reason="an incident")

    with pytest.raises(Blocked, match="an incident"):
        two.rollback(*PROD)
    assert two.channels.show(*PROD).frozen_until is None
    two.channels.unfreeze(*PROD, reason="over")
    assert not two.channels.show(*PROD).is_frozen
    with pytest.raises(Conflict, match="is not frozen"):
        two.channels.unfreeze(*PROD, reason="over")


def test_a_channel_that_never_served_can_be_frozen(two):
    two.channels.freeze("team/lora", "dev", reason="not yet")

    with pytest.raises(Blocked, match="not yet"):
        two.promote("team/lora:v1", "dev")
    two.channels.unfreeze("team/lora", "dev", reason="now")
    moved = two.promote("team/lora:v1", "dev")
    assert (moved.version, moved.previous, moved.revision) == (1, None, 3)


def test_freezes_take_nothing_of_the_rollback_window(registry_server, two):
    for _ in range(3):
        two.channels.freeze(*PROD, reason="x")
        two.channels.unfreeze(*PROD, reason="y")
    registry_server.verified("team/lora:v1", verdict="inconclusive", again=True)

    assert two.rollback(*PROD).version == 1, "it left one move ago, and its old verdict is enough"


def test_who_may_promote_may_freeze_and_nobody_else(registry_server, two):
    reader = registry_server.client(("read", "push"))

    with pytest.raises(Forbidden, match="'promote'"):
        reader.channels.freeze(*PROD, reason="x")
    assert registry_server.client(("read", "promote")).channels.freeze(*PROD, reason="x").kind == "freeze"


def test_when_it_ends_is_not_changed_afterwards(registry_server, two):
    two.channels.freeze(*PROD, reason="release week", until=TO_COME)
    engine = registry_server.registry.engine

    for statement in (sa.update(t.freezes).values(ends_at=0), sa.delete(t.freezes)):
        with pytest.raises(sa.exc.DBAPIError), write(engine) as conn:
            conn.execute(statement)


def test_of_a_freeze_and_a_promotion_at_once_one_wins(registry_server, two):
    clients = [registry_server.client(principal=name) for name in "ab"]
    together, found = threading.Barrier(2), []

    def run(act):
        together.wait()
        try:
            found.append(act().kind)
        except (StaleRevision, Blocked) as error:
            found.append(type(error))

    acts = (
        lambda: clients[0].channels.freeze("team/lora", "dev", reason="x"),
        lambda: clients[1].promote("team/lora:v1", "dev"),
    )
    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kinds = [revision.kind for revision in two.channels.history("team/lora", "dev").items][::-1]
    assert kinds in (["freeze"], ["promote"], ["promote", "freeze"]), "never a move while frozen"
    assert len(kinds) == len([each for each in found if isinstance(each, str)])


def ended(engine):
    """Let the time of the freeze have come: append one that ended, as only a past clock could."""
    with write(engine) as conn:
        line = conn.execute(sa.select(t.deltas.c.id).where(t.deltas.c.name == "lora")).scalar_one()
        channel = queries.channel_row(conn, line, "prod", lock=True)
        assert channel is not None
        newest = queries.revision_at(conn, channel.id, number=channel.revision)
        assert newest is not None
        queries.advance(conn, channel.id, seen=channel.revision)
        revision_id = queries.add_revision(
            conn,
            channel_id=channel.id,
            number=channel.revision + 1,
            kind="freeze",
            version_id=newest.version_id,
            digest=newest.digest,
            base_root=newest.base_root,
            actor_id=newest.actor_id,
            reason="past",
            verdict_ids=[],
            previous_version_id=newest.version_id,
            break_glass=False,
        )
        queries.add_freeze_end(conn, revision_id, ends_at=newest.created_at)
