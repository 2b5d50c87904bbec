"""Fsck: every damage is found and named, nothing is changed, and an intact registry is intact."""

import base64
import random
import uuid

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.digest import sha256_of
from deltareg.errors import Forbidden, InvalidInput
from deltareg.service.registry import Registry
from deltareg.service.upkeep import collect, fsck, objects
from deltareg.store import fresh_key, open_store
from deltareg.store.memory import MemoryStore
from tests.service import rows


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    return open_store(folder.as_uri())


@pytest.fixture
def maker(engine):
    return rows.caller(engine)


@pytest.fixture
def version_id(engine, store, maker):
    delta = rows.line(engine, maker=maker)
    return rows.push(engine, store, maker, delta, b"first pack", b"second")


def test_an_intact_registry_has_no_findings(engine, store, maker, version_id):
    rows.base(engine)
    rows.send(engine, store, rows.upload(engine, maker), b"a push under way")

    checked = fsck.check(engine, store, read_data=True)

    assert checked == fsck.FsckOutcome(packs=2, size_bytes=16, findings=())


def test_a_lost_object_is_missing(engine, store, version_id):
    store.delete(key_of(engine, b"second"))

    (finding,) = fsck.check(engine, store, read_data=False).findings

    assert finding.kind == "missing"
    assert finding.subject == f"ns:lab {sha256_of(b'second')}"
    assert key_of(engine, b"second") in finding.detail


def test_a_cut_object_has_the_wrong_size(engine, store, folder, version_id):
    rewrite(folder, key_of(engine, b"second"), b"sec")

    (finding,) = fsck.check(engine, store, read_data=False).findings

    assert (finding.kind, finding.subject) == ("size", f"ns:lab {sha256_of(b'second')}")


def test_a_flipped_bit_shows_when_data_is_read(engine, store, folder, version_id):
    rewrite(folder, key_of(engine, b"second"), b"secand")

    quick = fsck.check(engine, store, read_data=False)
    thorough = fsck.check(engine, store, read_data=True)

    assert quick.findings == ()
    assert [finding.kind for finding in thorough.findings] == ["data"]


def test_an_object_without_a_row_is_reported_and_kept(engine, store, version_id):
    key = fresh_key(sha256_of(b"stray"), attempt=uuid.uuid4())
    store.write(key, [b"stray"])

    first = fsck.check(engine, store, read_data=True)
    collect.run(engine, store, grace_s=0)
    second = fsck.check(engine, store, read_data=True)

    assert [(f.kind, f.subject) for f in first.findings] == [("orphan", key)]
    assert second == first
    assert store.size(key) == 5


@pytest.mark.parametrize(("table", "subject"), [(t.versions, "lab/x:v1"), (t.bases, "tiny")])
def test_a_changed_manifest_in_the_database_is_found(engine, store, version_id, table, subject):
    rows.base(engine)
    with write(engine) as conn:
        conn.execute(sa.update(table).values(manifest=b"{}{}"))

    (finding,) = fsck.check(engine, store, read_data=False).findings

    assert (finding.kind, finding.subject) == ("manifest", subject)


def test_a_needed_pack_that_is_marked_is_found(engine, store, version_id):
    with write(engine) as conn:
        marked = sa.update(t.packs).where(t.packs.c.digest == str(sha256_of(b"second")))
        conn.execute(marked.values(state="deleting"))

    (finding,) = fsck.check(engine, store, read_data=False).findings

    assert (finding.kind, finding.subject) == ("marked", f"ns:lab {sha256_of(b'second')}")


@pytest.mark.parametrize("when", ["keys", "read"])
def test_a_pack_that_is_collected_meanwhile_is_no_finding(engine, maker, when):
    store = CollectingStore(engine, when)
    delta = rows.line(engine, maker=maker)
    gone = rows.push(engine, store, maker, delta, b"gone")
    rows.push(engine, store, maker, delta, b"kept")
    rows.delete(engine, gone)
    store.is_armed = True

    checked = fsck.check(engine, store, read_data=True)

    assert not store.is_armed, "the collection took place in the middle of it"
    assert checked.findings == ()


def test_each_of_many_faults_is_found(engine, store, folder, maker):
    dice = random.Random(20261124)
    delta = rows.line(engine, maker=maker)
    packs = [dice.randbytes(dice.randint(50, 5_000)) for _ in range(60)]
    rows.push(engine, store, maker, delta, *packs)
    damaged = {str(sha256_of(data)): data for data in dice.sample(packs, 25)}
    for data in damaged.values():
        damage(store, folder, key_of(engine, data), data, dice)

    findings = fsck.check(engine, store, read_data=True).findings

    assert {finding.subject.split()[1] for finding in findings} == damaged.keys()
    assert len(findings) == len(damaged)


@pytest.mark.parametrize("repairs", [False, True])
def test_parts_find_what_all_of_it_finds_wherever_they_end(engine, store, folder, maker, monkeypatch, repairs):
    monkeypatch.setattr(objects, "_SHARE", 1)  # as if there were many packs
    dice = random.Random(20261201)
    delta = rows.line(engine, maker=maker)
    packs = [dice.randbytes(50) for _ in range(12)]
    rows.push(engine, store, maker, delta, *packs)
    rows.base(engine)
    for data in packs[:5]:
        damage(store, folder, key_of(engine, data), data, dice)
    store.write(fresh_key(sha256_of(b"stray"), attempt=uuid.uuid4()), [b"stray"])
    with write(engine) as conn:
        conn.execute(sa.update(t.bases).values(manifest=b"{}{}"))
        conn.execute(sa.update(t.quota_usage).values(versions=7))
    registry = Registry(engine, store)
    whole = fsck.check(engine, store, read_data=True)

    parts = [fsck.run_fsck(registry, maker, read_data=True, repairs=repairs, after="", seconds=0)]
    while parts[-1].after is not None:
        after = parts[-1].after
        parts.append(fsck.run_fsck(registry, maker, read_data=True, repairs=repairs, after=after, seconds=0))

    assert len(parts) > 12, "each step is a part of its own"
    found = [finding for part in parts for finding in part.findings]
    assert sum(part.packs for part in parts) == 12
    if repairs:
        assert [f.kind for f in found].count("data") == 5
        assert [f.kind for f in found].count("orphan") == 1
        assert parts[-1].to_push
        assert not any(part.to_push for part in parts[:-1])
    else:
        assert sorted(map(repr, found)) == sorted(map(repr, whole.findings))
        assert {f.kind for f in found} >= {"orphan", "manifest", "count"}


@pytest.mark.parametrize("place", ["nope:", "objects:xyz", "documents:q1", "documents:v-1", "objects:00000"])
def test_a_cursor_of_somebody_else_is_refused(sqlite_engine, place):
    registry, after = Registry(sqlite_engine, MemoryStore()), base64.urlsafe_b64encode(place.encode()).decode()

    with pytest.raises(InvalidInput):
        fsck.run_fsck(registry, rows.caller(sqlite_engine), read_data=False, after=after)


def test_fsck_is_for_admins(engine, store, version_id, maker):
    registry = Registry(engine, store)
    store.delete(key_of(engine, b"second"))

    with pytest.raises(Forbidden):
        fsck.run_fsck(registry, rows.caller(engine, "r", scopes={"read"}), read_data=False)
    report = fsck.run_fsck(registry, maker, read_data=True)

    assert (report.packs, report.bytes, report.read_data) == (2, 16, True)
    assert [finding.kind for finding in report.findings] == ["missing"]


class CollectingStore(MemoryStore):
    """A store beside which a collection runs once, as fsck has listed its objects or reads the first."""

    def __init__(self, engine, when):
        super().__init__()
        self._engine, self._when = engine, when
        self.is_armed = False

    def keys(self, prefix=""):
        found = list(super().keys(prefix))
        self._collect("keys")
        return iter(found)

    def read(self, key, start=0, stop=None):
        self._collect("read")
        return super().read(key, start, stop)

    def _collect(self, when):
        if self.is_armed and when == self._when:
            self.is_armed = False
            collect.run(self._engine, self, grace_s=0)


def key_of(engine, data):
    digest = str(sha256_of(data))
    return next(row.physical_key for row in rows.rows(engine, t.packs) if row.digest == digest)


def rewrite(folder, key, data):
    path = folder / key
    path.chmod(0o600)
    path.write_bytes(data)


def damage(store, folder, key, data, dice):
    at = dice.randrange(len(data))
    flipped = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
    match dice.choice(["delete", "cut", "flip", "grow"]):
        case "delete":
            store.delete(key)
        case "cut":
            rewrite(folder, key, data[:at])
        case "flip":
            rewrite(folder, key, flipped)
        case "grow":
            rewrite(folder, key, data + b"\0")
