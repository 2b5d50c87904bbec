"""Retention: what a rule lets go, what stays whatever it says, and in whose name it goes."""

import threading

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.errors import Conflict, Forbidden, NotFound
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.resources import Namespace
from deltareg.service.push.restore import restore_version
from deltareg.service.registry import Registry
from deltareg.service.retention import retaining
from deltareg.service.retention.retaining import next_line, retain_some
from deltareg.service.retention.rule import KeepRule
from deltareg.service.retention.rules import set_retention, show_retention
from deltareg.store.memory import MemoryStore
from deltareg.wire import RetentionRule, RetentionSet
from tests.service import rows

LINE, LAB = LineRef("lab", "x"), Namespace("lab")
DAY_US = 86_400 * US_PER_S


@pytest.fixture
def registry(engine):
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    ada = rows.caller(engine)
    give(engine, ada, role="admin")
    return ada


@pytest.fixture
def delta(engine, ada):
    return rows.line(engine, maker=ada)


def give(engine, caller, *, role):
    with write(engine) as conn:
        conn.execute(sa.insert(t.grants).values(principal_id=caller.principal_id, role=role))


def push(registry, ada, delta, number, **values):
    """Push versions with a pack of their own each; give their ids."""
    ids = [rows.push(registry.engine, registry.store, ada, delta, f"{delta} {n}".encode() * 100) for n in range(number)]
    if values:
        change(registry.engine, ids, **values)
    return ids


def change(engine, ids, **values):
    with write(engine) as conn:
        conn.execute(sa.update(t.versions).where(t.versions.c.id.in_(ids)).values(**values))


def rule(registry, ada, on=LINE, *, confirm=False, dry_run=False, **keep):
    asked = RetentionSet(rules=[RetentionRule(**keep)], confirm=confirm)
    return set_retention(registry, ada, on, asked, dry_run=dry_run)


def retain(registry):
    after, deleted = 0, 0
    while (line := next_line(registry, after)) is not None:
        while some := retain_some(registry, line):
            deleted += some
        after = line.id
    return deleted


def live(registry):
    return [row.id for row in rows.rows(registry.engine, t.versions) if row.deleted_at is None]


def move(engine, delta, version_id, *, number, name="prod", actor=1):
    """Let a channel have moved to a version."""
    with write(engine) as conn:
        found = conn.execute(sa.select(t.channels.c.id).where(t.channels.c.name == name)).scalar()
        channel = (
            found
            or conn.execute(
                sa.insert(t.channels).values(delta_id=delta, name=name, policy={}).returning(t.channels.c.id)
            ).scalar_one()
        )
        conn.execute(sa.update(t.channels).where(t.channels.c.id == channel).values(revision=number))
        values = {
            "kind": "promote",
            "digest": "d",
            "base_root": "b",
            "reason": "",
            "verdict_ids": [],
            "break_glass": True,
        }
        with rows.unguarded(conn, t.revisions):
            conn.execute(
                sa.insert(t.revisions).values(
                    channel_id=channel, number=number, version_id=version_id, actor_id=actor, created_at=1, **values
                )
            )
    return channel


def test_the_last_so_many_stay(registry, ada, delta):
    ids = push(registry, ada, delta, 5)

    told = rule(registry, ada, last=2)

    assert (told.plan.versions, told.plan.of, told.plan.kept) == (3, 5, {"last": 2})
    assert told.plan.refs == ["lab/x:v3", "lab/x:v2", "lab/x:v1"]
    assert told.plan.bytes == sum(len(f"{delta} {n}") * 100 for n in range(3))
    assert live(registry) == ids, "a rule alone deletes nothing"
    assert retain(registry) == 3
    assert live(registry) == ids[3:]
    assert show_retention(registry, ada, LINE).plan.versions == 0


def test_the_young_the_labelled_the_promoted_and_those_with_a_semver_stay(registry, ada, delta):
    young, labelled, versioned, promoted, _ = push(registry, ada, delta, 5, created_at=1)
    change(registry.engine, [young], created_at=now_us() - DAY_US)
    change(registry.engine, [labelled], labels={"release": "2026-1"})
    change(registry.engine, [versioned], semver="1.0.0")
    for number, version in enumerate([promoted, *push(registry, ada, delta, 7)], 1):
        move(registry.engine, delta, version, number=number)

    told = rule(registry, ada, days=2, labels=["release=2026-*"])

    assert told.plan.refs == ["lab/x:v5"]
    assert told.plan.kept == {"young": 2, "labels": 1, "semver": 1, "promoted": 1, "served": 6}
    assert rule(registry, ada, days=2, semver=False, promoted=False, dry_run=True).plan.versions == 4


def test_a_kind_may_have_a_rule_of_its_own(registry, ada, delta):
    push(registry, ada, delta, 4)
    full = push(registry, ada, delta, 4, kind="full")
    rules = [RetentionRule(kind="full", last=1), RetentionRule(last=3)]

    told = set_retention(registry, ada, LAB, RetentionSet(rules=rules), dry_run=False)

    assert told.plan.refs == ["lab/x:v7", "lab/x:v6", "lab/x:v5", "lab/x:v1"]
    retain(registry)
    assert [one for one in live(registry) if one in full] == full[-1:]


def test_the_rule_of_a_line_comes_before_that_of_its_namespace(registry, ada, delta):
    other = rows.line(registry.engine, "y", maker=ada)
    push(registry, ada, delta, 4)
    push(registry, ada, other, 4)

    rule(registry, ada, LAB, last=1)
    rule(registry, ada, LINE, last=3)

    assert show_retention(registry, ada, LAB).plan.refs == ["lab/x:v1", "lab/y:v3", "lab/y:v2", "lab/y:v1"]
    assert retain(registry) == 4


def test_what_is_served_followed_asked_for_held_or_needed_stays_whatever_the_rule(registry, ada, delta):
    engine = registry.engine
    served, followed, asked, running, held, parent, base, loose, last = push(registry, ada, delta, 9)
    child_line = rows.line(engine, "child", maker=ada)
    rows.version(engine, child_line, parents=[parent])
    channel = move(engine, delta, served, number=1)
    with write(engine) as conn:
        digest = conn.execute(sa.select(t.versions.c.manifest_digest).where(t.versions.c.id == followed)).scalar()
        agent = conn.execute(
            sa.insert(t.agents)
            .values(name="a", principal_id=1, engine="dir", every_us=1, seen_at=1)
            .returning(t.agents.c.id)
        ).scalar_one()
        seen = {"revision": 1, "state": "ok", "error": "", "since": 1, "digest": digest}
        conn.execute(sa.insert(t.followers).values(agent_id=agent, channel_id=channel, **seen))
        conn.execute(
            sa.insert(t.requests).values(
                channel_id=channel,
                version_id=asked,
                digest=sa.select(t.versions.c.manifest_digest).where(t.versions.c.id == asked).scalar_subquery(),
                policy_digest="p",
                seen_revision=1,
                opener_id=1,
                reason="",
            )
        )
        conn.execute(
            sa.insert(t.runs).values(id="r", what="prove", dedup_key="r", version_id=running, request={}, labels={})
        )
        root = conn.execute(
            sa.insert(t.bases)
            .values(
                name="lab/x:v7",
                root="blake3:b",
                config_digest="c",
                manifest_digest="m",
                manifest=b"{}",
                logical_bytes=0,
                stored_bytes=0,
            )
            .returning(t.bases.c.id)
        ).scalar_one()
        conn.execute(
            sa.insert(t.version_bases).values(base_id=root, version_id=base, bottom_id=root, depth=1, recipe="")
        )
        rows.add_version(conn, child_line, base_id=root)
    change(engine, [held], labels={"hold": "until the audit"})

    told = rule(registry, ada, last=1, promoted=False, semver=False)
    retain(registry)

    assert told.plan.refs == ["lab/x:v8"]
    assert told.plan.kept == {"served": 1, "followed": 1, "asked for": 2, "hold": 1, "needed": 2, "last": 1}
    assert set(range(served, last + 1)) - set(live(registry)) == {loose}


def test_a_parent_goes_with_its_children_and_never_before_them(registry, ada, delta):
    first = rows.version(registry.engine, delta)
    second = rows.version(registry.engine, delta, parents=[first])
    third = rows.version(registry.engine, delta, parents=[second])
    rows.version(registry.engine, delta)

    assert rule(registry, ada, last=2, dry_run=True).plan.versions == 0  # the third holds the others
    assert rule(registry, ada, last=1).plan.refs == ["lab/x:v3", "lab/x:v2", "lab/x:v1"]
    retain(registry)

    gone = {row.id for row in rows.rows(registry.engine, t.versions) if row.deleted_at is not None}
    assert gone == {first, second, third}


def test_what_would_delete_everything_asks_first(registry, ada, delta):
    ids = push(registry, ada, delta, 2)

    with pytest.raises(Conflict, match="each new version"):
        rule(registry, ada, labels=["release"])
    change(registry.engine, ids, created_at=1)
    with pytest.raises(Conflict, match="every version of lab/x"):
        rule(registry, ada, days=1)
    assert rule(registry, ada, last=0, dry_run=True).plan.versions == 2
    assert retain(registry) == 0
    rule(registry, ada, last=0, confirm=True)

    assert retain(registry) == 2
    assert live(registry) == []


def test_each_deletion_is_logged_in_the_name_of_who_set_the_rule_and_can_be_undone(registry, ada, delta):
    ids = push(registry, ada, delta, 3)
    rule(registry, ada, last=1)
    retain(registry)

    told = [
        (row.actor, row.subject, row.after) for row in rows.rows(registry.engine, t.audit) if "delete" in row.action
    ]
    assert told == [("ada", f"lab/x:v{n}", {"deleted": True, "by": "retention"}) for n in (2, 1)]
    restored = restore_version(registry, ada, Ref.parse("lab/x:v1"))
    assert restored.ref == "lab/x:v1"
    assert live(registry) == [ids[0], ids[2]]


def test_nothing_goes_once_who_set_the_rule_may_not_delete_any_more(registry, ada, delta, caplog):
    push(registry, ada, delta, 3)
    rule(registry, ada, last=1)
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.grants).values(ended_at=1, ended_by=ada.principal_id))

    assert retain(registry) == 0
    assert "ada, who set the rule, may not delete there any more" in caplog.text


def test_a_member_without_the_right_neither_sees_nor_sets_a_rule(registry, ada, delta, engine):
    eve = rows.caller(engine, "eve", scopes=("read", "push", "promote"))

    for on in (LINE, LAB):
        with pytest.raises(Forbidden):
            show_retention(registry, eve, on)
        with pytest.raises(Forbidden):
            rule(registry, eve, on, last=1, dry_run=True)
    with pytest.raises(NotFound):
        show_retention(registry, ada, Namespace("nowhere"))


def test_what_is_promoted_between_plan_and_deletion_stays(registry, ada, delta, monkeypatch):
    ids = push(registry, ada, delta, 4)
    rule(registry, ada, last=1, promoted=False)
    before = retaining._delete_some

    def promoted_meanwhile(conn, **planned):
        monkeypatch.setattr(retaining, "_delete_some", before)
        if conn.dialect.name == "postgresql":  # another transaction, which comes first
            move(registry.engine, delta, ids[1], number=1)
            return before(conn, **planned)
        return 0

    monkeypatch.setattr(retaining, "_delete_some", promoted_meanwhile)
    first = next_line(registry, 0)
    assert first is not None
    retain_some(registry, first)
    if not rows.rows(registry.engine, t.revisions):
        move(registry.engine, delta, ids[1], number=1)
    retain(registry)

    assert live(registry) == [ids[1], ids[3]]


def test_two_servers_at_once_delete_each_version_once(registry, ada, delta, monkeypatch):
    monkeypatch.setattr(retaining, "_MOST", 2)
    push(registry, ada, delta, 9)
    rule(registry, ada, last=1)
    barrier, deleted = threading.Barrier(2), []

    def work():
        barrier.wait()
        deleted.append(retain(registry))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    logged = [row.subject for row in rows.rows(registry.engine, t.audit) if row.action == "version.delete"]
    assert sum(deleted) == len(logged) == len(set(logged)) == 8


def test_an_unknown_word_of_a_later_release_lets_nothing_more_go():
    assert KeepRule() == KeepRule(promoted=True, semver=True)
