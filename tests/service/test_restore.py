"""Bringing a deleted version back: as it was, until collection has freed its bytes."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines.versions import version_by_id
from deltareg.db.session import read
from deltareg.errors import Blocked, Conflict, Forbidden
from deltareg.refs import Ref
from deltareg.service.lines.versions import delete_version, storage_bytes
from deltareg.service.push.restore import restore_version
from deltareg.service.registry import Registry
from deltareg.service.upkeep import collect
from deltareg.store.memory import MemoryStore
from tests.service import rows

V1 = Ref.parse("lab/x:v1")


@pytest.fixture
def here(engine):
    return Registry(engine, MemoryStore())


@pytest.fixture
def maker(engine):
    return rows.caller(engine)


@pytest.fixture
def push(here, maker):
    """Push a version made of one pack to the line; gives its row id."""
    rows.base(here.engine)
    line = rows.line(here.engine, maker=maker)

    def pushed(data=b"bytes", **more):
        return rows.push(here.engine, here.store, maker, line, data, **more)

    return pushed


def test_a_deleted_version_gives_no_bytes_until_it_is_restored(here, maker, push):
    version_id = push()
    delete_version(here, maker, V1)

    with pytest.raises(Blocked, match="lab/x:v1 is deleted") as refused:
        storage_bytes(here, maker, V1)
    within = collect.run(here.engine, here.store, grace_s=3600)
    back = restore_version(here, maker, V1)
    after = collect.run(here.engine, here.store, grace_s=0)

    assert refused.value.fix == "bring it back: deltareg restore lab/x:v1"
    assert (back.is_deleted, back.version) == (False, 1)
    assert within == after == collect.CollectionTotals(objects=0)
    assert storage_bytes(here, maker, V1) == b"{}"
    assert rows.missing(here.engine, here.store) == []
    assert trail(here, "version.restore") == ["lab/x:v1"]
    with read(here.engine) as conn:
        assert version_by_id(conn, version_id).deleted_at is None


def test_what_collection_has_freed_never_comes_back(here, maker, push):
    push()
    delete_version(here, maker, V1)
    collect.run(here.engine, here.store, grace_s=0)

    with pytest.raises(Blocked, match="collection has freed its bytes") as refused:
        restore_version(here, maker, V1)
    with pytest.raises(Blocked, match="collection has freed its bytes"):
        storage_bytes(here, maker, V1)

    assert refused.value.fix.endswith("deltareg push PATH lab/x")
    assert trail(here, "version.restore") == []


def test_what_is_not_deleted_is_left_as_it_is(here, maker, push):
    push()

    found = restore_version(here, maker, V1)

    assert not found.is_deleted
    assert trail(here, "version.restore") == []


def test_who_may_not_delete_does_not_restore(here, maker, push):
    push()
    delete_version(here, maker, V1)
    promoter = rows.caller(here.engine, "eve", scopes={"read", "push", "promote", "verify"})

    with pytest.raises(Forbidden):
        restore_version(here, promoter, V1)


def test_what_it_was_made_from_comes_back_first(here, maker, push):
    parent = push(b"parent")
    push(b"child", parents=[parent])
    child = Ref.parse("lab/x:v2")
    delete_version(here, maker, child)
    delete_version(here, maker, V1)

    with pytest.raises(Conflict, match="needs lab/x:v1, which is deleted") as refused:
        restore_version(here, maker, child)
    restore_version(here, maker, V1)
    back = restore_version(here, maker, child)

    assert refused.value.fix == "first: deltareg restore lab/x:v1"
    assert not back.is_deleted


def test_the_same_pushed_again_is_the_one_to_use(here, maker, push):
    first = push()
    delete_version(here, maker, V1)
    second = push()
    with here.engine.begin() as conn:
        own = sa.select(t.versions.c.manifest_digest).where(t.versions.c.id == first)
        digest = conn.execute(own).scalar_one()
        same = sa.update(t.versions).where(t.versions.c.id == second)
        with rows.unguarded(conn, t.versions):
            conn.execute(same.values(manifest_digest=digest))

    with pytest.raises(Conflict, match="lab/x:v2 is the same as lab/x:v1"):
        restore_version(here, maker, V1)


def test_what_was_not_proven_is_queued_to_be(here, maker, push):
    version_id = push()
    with here.engine.begin() as conn:
        conn.execute(sa.update(t.versions).values(proven_revision=None))
    delete_version(here, maker, V1)

    restore_version(here, maker, V1)

    assert [(run.what, run.version_id) for run in rows.rows(here.engine, t.runs)] == [("prove", version_id)]


def trail(here, action):
    found = rows.rows(here.engine, t.audit)
    return [row.subject for row in found if row.action == action]
