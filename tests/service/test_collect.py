"""Collection: frees what nothing needs, and nothing else, whatever happens beside it."""

import random
import threading
import uuid

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.clock import US_PER_S, now_us
from deltareg.db.queries import collection, packs, uploads, versions
from deltareg.db.session import create_engine, read, write
from deltareg.digest import sha256_of
from deltareg.errors import Forbidden, UploadClosed
from deltareg.service import collect
from deltareg.service.registry import Registry
from deltareg.store import fresh_key
from deltareg.store.memory import MemoryStore
from tests.service import rows
from tests.service.turns import Turns, TurnStore

DAY_US = 86_400 * US_PER_S


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def maker(engine):
    return rows.caller(engine)


@pytest.fixture
def delta(engine, maker):
    return rows.line(engine, maker=maker)


def test_the_packs_of_a_deleted_version_are_freed(engine, store, maker, delta):
    kept = rows.push(engine, store, maker, delta, b"kept", b"shared")
    gone = rows.push(engine, store, maker, delta, b"gone", b"shared")
    rows.delete(engine, gone)

    freed = collect.run(engine, store, grace_s=0)

    second_copy = len(b"shared")
    assert freed == collect.Collected(
        versions=1, packs=1, objects=2, size_bytes=len(b"gone") + second_copy
    )
    assert stored(store) == {b"kept", b"shared"}
    assert missing(engine, store) == []
    assert released(engine) == {gone}
    assert needed(engine) == {kept: 2}


def test_a_deleted_version_can_be_had_for_the_grace_period(engine, store, maker, delta):
    rows.delete(engine, rows.push(engine, store, maker, delta, b"gone"))

    within = collect.run(engine, store, grace_s=3600)
    after = collect.run(engine, store, grace_s=0)

    assert (within.packs, after.packs) == (0, 1)


def test_collecting_again_finds_nothing(engine, store, maker, delta):
    rows.delete(engine, rows.push(engine, store, maker, delta, b"gone"))
    rows.upload(engine, maker)
    collect.run(engine, store, grace_s=0)

    again = collect.run(engine, store, grace_s=0)

    assert again == collect.Collected()


def test_packs_of_a_base_stay(engine, store, maker):
    upload_id = rows.upload(engine, maker)
    sent = rows.send(engine, store, upload_id, b"weights")
    base_id = rows.base(engine)
    with write(engine) as conn:
        packs.reference_base(conn, base_id, [rows.adopt(conn, sent)])
        uploads.close_upload(conn, upload_id, state="complete", base_id=base_id)

    freed = collect.run(engine, store, grace_s=0)

    assert freed == collect.Collected()
    assert stored(store) == {b"weights"}


def test_a_stalled_push_is_closed_and_its_bytes_are_deleted(engine, store, maker):
    upload_id = rows.upload(engine, maker)
    rows.send(engine, store, upload_id, b"half")

    within = collect.run(engine, store, grace_s=3600)
    after = collect.run(engine, store, grace_s=0)

    assert within == collect.Collected()
    assert after == collect.Collected(uploads_expired=1, objects=1, size_bytes=4)
    assert stored(store) == set()
    with pytest.raises(UploadClosed):
        finish(engine, upload_id)


def test_what_an_upload_sent_in_vain_is_deleted(engine, store, maker, delta):
    rows.push(engine, store, maker, delta, b"first")
    rows.push(engine, store, maker, delta, b"first")  # the same bytes under another key

    freed = collect.run(engine, store, grace_s=0)

    assert freed == collect.Collected(objects=1, size_bytes=5)
    assert stored(store) == {b"first"}
    assert missing(engine, store) == []


def test_an_object_that_a_stalled_process_writes_late_is_deleted_too(engine, store, maker):
    upload_id = rows.upload(engine, maker)
    key = fresh_key(sha256_of(b"late"), attempt=uuid.uuid4())
    with write(engine) as conn:
        uploads.add_upload_pack(conn, upload_id, number=0, physical_key=key)
    collect.run(engine, store, grace_s=0)
    store.write(key, [b"late"])

    freed = collect.run(engine, store, grace_s=0)

    assert freed.objects == 1
    assert stored(store) == set()


def test_rows_of_uploads_that_were_closed_long_ago_are_forgotten(engine, store, maker):
    upload_id = rows.upload(engine, maker)
    rows.send(engine, store, upload_id, b"half")
    collect.run(engine, store, grace_s=0)
    with write(engine) as conn:
        conn.execute(sa.update(t.uploads).values(touched_at=now_us() - 8 * DAY_US))

    collect.run(engine, store, grace_s=0)

    assert rows.rows(engine, t.upload_packs) == []


def test_pieces_in_freed_packs_are_forgotten(engine, store, maker, delta):
    gone = rows.push(engine, store, maker, delta, b"gone")
    kept = rows.push(engine, store, maker, delta, b"kept")
    with write(engine) as conn:
        ids = packs_by_version(conn)
        both = [*ids[gone], *ids[kept]]
        packs.record_piece(conn, rows.SCOPE, "blake3:both", "", b"b", both)
        packs.record_piece(conn, rows.SCOPE, "blake3:kept", "", b"k", ids[kept])
    rows.delete(engine, gone)

    collect.run(engine, store, grace_s=0)

    with read(engine) as conn:
        known = packs.known_pieces(conn, rows.SCOPE, ["blake3:both", "blake3:kept"], "")
    assert known == {"blake3:kept": b"k"}


def test_a_parent_stays_until_the_versions_made_from_it_have_gone(engine, store, maker, delta):
    parent = rows.push(engine, store, maker, delta, b"parent")
    child = rows.push(engine, store, maker, delta, b"child", parents=[parent])
    rows.delete(engine, parent)

    with_child = collect.run(engine, store, grace_s=0)
    rows.delete(engine, child)
    without = collect.run(engine, store, grace_s=0)

    assert with_child == collect.Collected()
    assert without.versions == 2
    assert stored(store) == set()


def test_what_a_channel_serves_or_served_lately_stays(engine, store, maker, delta):
    ids = [rows.push(engine, store, maker, delta, b"%d" % n) for n in range(9)]
    never = rows.push(engine, store, maker, delta, b"never")
    channel(engine, maker, delta, ids, age_us=40 * DAY_US)
    for version_id in [*ids, never]:
        rows.delete(engine, version_id)

    collect.run(engine, store, grace_s=0)

    assert released(engine) == {*ids[:3], never}, "the current one and five moves before it stay"
    assert missing(engine, store) == []


def test_what_a_channel_stopped_serving_within_thirty_days_stays(engine, store, maker, delta):
    ids = [rows.push(engine, store, maker, delta, b"%d" % n) for n in range(9)]
    channel(engine, maker, delta, ids, age_us=29 * DAY_US)
    for version_id in ids:
        rows.delete(engine, version_id)

    collect.run(engine, store, grace_s=0)

    assert released(engine) == set()


def test_a_plan_counts_what_a_run_then_frees(engine, store, maker, delta):
    shared = rows.push(engine, store, maker, delta, b"shared")
    parent = rows.push(engine, store, maker, delta, b"parent", b"shared")
    child = rows.push(engine, store, maker, delta, b"child", parents=[parent])
    pinned = rows.push(engine, store, maker, delta, b"pinned")
    channel(engine, maker, delta, [pinned], age_us=0)
    rows.send(engine, store, rows.upload(engine, maker), b"stalled")
    for version_id in (parent, child, pinned):
        rows.delete(engine, version_id)
    before = stored(store)

    planned = collect.plan(engine, store, grace_s=0)
    untouched = stored(store)
    freed = collect.run(engine, store, grace_s=0)

    assert untouched == before
    assert planned == freed
    assert (freed.versions, freed.uploads_expired, freed.packs) == (2, 1, 2)
    assert needed(engine).keys() == {shared, pinned}


def test_collection_is_for_admins_and_leaves_a_trace(engine, store, maker, delta):
    rows.delete(engine, rows.push(engine, store, maker, delta, b"gone"))
    registry = Registry(engine, store)
    reader = rows.caller(engine, "reader", scopes={"read"})

    with pytest.raises(Forbidden):
        collect.run_collection(registry, reader, grace_s=0)
    planned = collect.plan_collection(registry, maker, grace_s=0)
    report = collect.run_collection(registry, maker, grace_s=0)

    assert (planned.dry_run, planned.packs, planned.bytes) == (True, 1, 4)
    assert (report.dry_run, report.packs, report.bytes) == (False, 1, 4)
    (row,) = rows.rows(engine, t.audit)
    assert (row.actor, row.action, row.after["packs"]) == ("ada", "collect.run", 1)


def test_a_marked_pack_is_revived_under_a_new_key(engine, store, maker, delta):
    rows.delete(engine, rows.push(engine, store, maker, delta, b"again"))
    mark(engine)
    old = rows.rows(engine, t.packs)[0].physical_key

    rows.push(engine, store, maker, delta, b"again")
    new = rows.rows(engine, t.packs)[0]
    with write(engine) as conn:
        was_dropped = collection.drop_pack(conn, new.id, physical_key=old)
    freed = collect.run(engine, store, grace_s=0)

    assert new.state == "live"
    assert new.physical_key != old
    assert not was_dropped
    assert freed.objects == 1, "nobody is left to delete the old key but the sweep"
    assert missing(engine, store) == []


def test_a_push_cannot_rely_on_a_marked_pack(engine, store, maker, delta):
    rows.delete(engine, rows.push(engine, store, maker, delta, b"going"))
    mark(engine)
    digest = str(sha256_of(b"going"))

    with read(engine) as conn:
        assert packs.physical_keys(conn, rows.SCOPE, [digest]) == {}

    with pytest.raises(UploadClosed), write(engine) as conn:
        packs.lock_live(conn, rows.SCOPE, [digest])


# ----------------------------------------------------------------- locks, on PostgreSQL


@pytest.mark.postgres
def test_a_pack_that_a_push_holds_is_passed_over(postgresql_engine, store):
    engine = postgresql_engine
    delta = unreferenced_pack(engine, store)

    with write(engine) as push:
        (pack_id,) = packs.lock_live(push, rows.SCOPE, [str(sha256_of(b"loose"))]).values()
        with write(engine) as collector:
            marked = collection.mark_deleting(collector, [pack_id])
        rows.add_version(push, delta, pack_ids=[pack_id])

    assert marked == []
    assert missing(engine, store) == []


@pytest.mark.postgres
def test_marking_in_one_statement_would_lose_the_pack(postgresql_engine, store):
    """The seeded bug: it waits for the push's lock and then decides by what it saw before."""
    engine = postgresql_engine
    delta = unreferenced_pack(engine, store)
    is_needed = sa.exists().where(t.version_packs.c.pack_id == t.packs.c.id)
    mark_at_once = sa.update(t.packs).where(~is_needed).values(state="deleting")

    def collector():
        with write(engine) as conn:
            conn.execute(mark_at_once)

    with write(engine) as push:
        (pack_id,) = packs.lock_live(push, rows.SCOPE, [str(sha256_of(b"loose"))]).values()
        thread = threading.Thread(target=collector)
        thread.start()
        until_somebody_waits(engine)
        rows.add_version(push, delta, pack_ids=[pack_id])
    thread.join()

    assert rows.rows(engine, t.packs)[0].state == "deleting", "although a version needs it"


@pytest.mark.postgres
def test_a_version_that_is_being_promoted_is_not_released(postgresql_engine, store):
    engine = postgresql_engine
    maker = rows.caller(engine)
    delta = rows.line(engine, maker=maker)
    version_id = rows.push(engine, store, maker, delta, b"served")
    rows.delete(engine, version_id)
    freed = []
    collector = threading.Thread(target=lambda: freed.append(collect.run(engine, store, grace_s=0)))

    with write(engine) as conn:
        promote(conn, maker, delta, [version_id])
        collector.start()
        until_somebody_waits(engine)
    collector.join()

    assert freed == [collect.Collected()]


# ------------------------------------------------------------- races, decided by a seed


class World:
    """Pushers, a deleter and collectors on one database and one store."""

    def __init__(self, engine, seed, *, mortality=0.05):
        self.turns = Turns(seed, mortality=mortality)
        self.store = TurnStore(self.turns)
        self.maker = rows.caller(engine)
        self.delta = rows.line(engine, maker=self.maker)
        self.engine = engine
        self.random = random.Random(seed)
        self.turns.watch(engine)

    def push(self, contents, *, attempts=3):
        """Push like the service: skip what is there, send the rest, complete, or try again."""
        for _ in range(attempts):
            upload_id = rows.upload(self.engine, self.maker)
            digests = {str(sha256_of(data)): data for data in contents}
            with read(self.engine) as conn:
                known = packs.physical_keys(conn, rows.SCOPE, digests)
            sent = [self.send(upload_id, data) for d, data in digests.items() if d not in known]
            try:
                return self.complete(upload_id, sent, known)
            except UploadClosed:
                continue
        return None

    def send(self, upload_id, data):
        return rows.send(self.engine, self.store, upload_id, data)

    def complete(self, upload_id, sent, known):
        with write(self.engine) as conn:
            self.check_open(conn, upload_id)
            ids = [rows.adopt(conn, one) for one in sorted(sent, key=lambda one: one.digest)]
            ids += self.lock_known(conn, known)
            version_id = rows.add_version(conn, self.delta, pack_ids=ids)
            uploads.close_upload(conn, upload_id, state="complete", version_id=version_id)
        return version_id

    def check_open(self, conn, upload_id):
        if uploads.upload_row(conn, upload_id, lock=True).state != "open":
            raise UploadClosed("expired meanwhile")

    def lock_known(self, conn, known):
        return packs.lock_live(conn, rows.SCOPE, known).values()

    def pusher(self):
        for _ in range(3):
            version_id = self.push(self.random.sample([b"a", b"bb", b"ccc"], 2))
            if version_id is not None and self.random.random() < 0.7:
                rows.delete(self.engine, version_id)

    def collector(self):
        for _ in range(3):
            collect.run(self.engine, self.store, grace_s=0)

    def race(self):
        """Run everybody to the end or to death; give what was lost."""
        errors = self.turns.run(
            self.pusher, self.pusher, self.pusher, self.collector, self.collector
        )
        assert errors == []
        return missing(self.engine, self.store)


class NoSessionCheck(World):
    """Seeded bug: an upload that was closed meanwhile is completed all the same."""

    def check_open(self, conn, upload_id):
        pass


class NoLockOfKnown(World):
    """Seeded bug: a pack that was there at the start of a push is believed to be there still."""

    def lock_known(self, conn, known):
        query = sa.select(t.packs.c.id).where(t.packs.c.digest.in_(known))
        return conn.execute(query).scalars().all()


class SameKey(World):
    """Seeded bug: the physical key is made from the digest alone, and so used again."""

    def send(self, upload_id, data):
        digest = sha256_of(data)
        key = f"blobs/{digest.hex}/00000000-0000-4000-8000-000000000000"
        with write(self.engine) as conn:
            taken = sa.select(t.upload_packs.c.id).where(t.upload_packs.c.physical_key == key)
            row = conn.execute(taken).scalar()
            if row is None:
                row = uploads.add_upload_pack(conn, upload_id, number=0, physical_key=key)
        if self.store.size(key) is None:
            self.store.write(key, [data])
        return rows.Sent(data, key, row)


class NoMark(World):
    """Seeded bug: the collector deletes objects that it saw unneeded, and then their rows."""

    def collector(self):
        for _ in range(3):
            with read(self.engine) as conn:
                loose = collection.unreferenced(conn, after=0, limit=100)
                keys = {row.id: row.physical_key for row in conn.execute(sa.select(t.packs))}
            for row in loose:
                self.store.delete(keys[row.id])
            with write(self.engine) as conn:
                free = collection.mark_deleting(conn, [row.id for row in loose])
                conn.execute(sa.delete(t.packs).where(t.packs.c.id.in_(free)))


SEEDS = 25


def test_no_interleaving_loses_a_needed_pack(fresh_engines):
    for seed in range(SEEDS):
        lost = World(fresh_engines(), seed).race()

        assert lost == [], f"seed {seed}"


def test_after_all_deaths_collection_leaves_no_byte_without_a_row(fresh_engines):
    for seed in range(SEEDS):
        world = World(fresh_engines(), seed, mortality=0.2)
        world.race()

        collect.run(world.engine, world.store, grace_s=0)

        assert missing(world.engine, world.store) == [], f"seed {seed}"
        assert keys(world.store) == live_keys(world.engine), f"seed {seed}"


@pytest.mark.parametrize("mutant", [NoSessionCheck, NoLockOfKnown, SameKey, NoMark])
def test_the_race_finds_a_seeded_bug(fresh_engines, mutant):
    assert any(is_caught(mutant, fresh_engines(), seed) for seed in range(4 * SEEDS))


@pytest.mark.soak
def test_no_interleaving_loses_a_needed_pack_in_a_long_run(fresh_engines):
    for seed in range(SEEDS, 2_000):
        world = World(fresh_engines(), seed, mortality=0.1)

        assert world.race() == [], f"seed {seed}"


def is_caught(mutant, engine, seed):
    try:
        return mutant(engine, seed).race() != []
    except (AssertionError, sa.exc.IntegrityError):
        return True


@pytest.fixture
def fresh_engines(database_url):
    """Give an engine on the same database, emptied, again and again."""
    engines = []

    def fresh():
        if engines:
            engines.pop().dispose()
        engines.append(create_engine(database_url))
        with write(engines[-1]) as conn:
            for table in (
                t.version_packs, t.upload_packs, t.uploads, t.packs, t.versions, t.deltas
            ):  # fmt: skip
                conn.execute(sa.delete(table))
        return engines[-1]

    yield fresh
    for engine in engines:
        engine.dispose()


# ------------------------------------------------------------------------------ helpers


def finish(engine, upload_id):
    with write(engine) as conn:
        if uploads.upload_row(conn, upload_id, lock=True).state != "open":
            raise UploadClosed("it is not open")


def mark(engine):
    """Release and mark, and then end before the first object is deleted."""
    window = collection.PinWindow(moves=5, us=30 * DAY_US)
    with write(engine) as conn:
        for version_id in collection.releasable(conn, grace_us=0, window=window):
            assert collection.release(conn, version_id, window=window)
        loose = collection.unreferenced(conn, after=0, limit=100)
        assert collection.mark_deleting(conn, [row.id for row in loose])


def unreferenced_pack(engine, store):
    """Make a live pack that nothing needs; give a line for versions to come."""
    maker = rows.caller(engine)
    delta = rows.line(engine, maker=maker)
    version_id = rows.push(engine, store, maker, delta, b"loose")
    with write(engine) as conn:
        conn.execute(sa.delete(t.version_packs))
        versions.delete_version(conn, version_id)
        conn.execute(sa.update(t.versions).values(released_at=now_us()))
    return delta


def channel(engine, maker, delta, version_ids, *, age_us):
    """Make a channel that served versions, one after the other, all of them so long ago."""
    with write(engine) as conn:
        promote(conn, maker, delta, version_ids, age_us=age_us)


def promote(conn, maker, delta, version_ids, *, age_us=0):
    channel_id = conn.execute(
        sa.insert(t.channels)
        .values(delta_id=delta, name="prod", policy={})
        .returning(t.channels.c.id)
    ).scalar_one()
    for number, version_id in enumerate(version_ids, start=1):
        conn.execute(
            sa.insert(t.revisions).values(
                channel_id=channel_id, number=number, kind="promote", version_id=version_id,
                digest="sha256:m", base_root=rows.BASE_ROOT, actor_id=maker.principal_id,
                reason="", verdict_ids=[], break_glass=False, created_at=now_us() - age_us,
            )
        )  # fmt: skip


def until_somebody_waits(engine):
    """Wait until a connection to the database of the engine waits for a lock."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(100_000):
        with read(engine) as conn:
            if conn.execute(waiting).scalar_one():
                return
    raise AssertionError("nobody waits")


def packs_by_version(conn):
    found = {}
    for row in conn.execute(sa.select(t.version_packs)):
        found.setdefault(row.version_id, []).append(row.pack_id)
    return found


def stored(store):
    return {b"".join(store.read(key)) for key, _ in store.keys("blobs/")}


def keys(store):
    return {key for key, _ in store.keys("blobs/")}


def live_keys(engine):
    return {row.physical_key for row in rows.rows(engine, t.packs)}


def missing(engine, store):
    """List versions that hold packs, with the digests whose objects are not there."""
    with read(engine) as conn:
        query = sa.select(
            t.version_packs.c.version_id, t.packs.c.digest, t.packs.c.physical_key, t.packs.c.state
        ).join(t.packs, t.packs.c.id == t.version_packs.c.pack_id)
        found = conn.execute(query).all()
    objects = {key: str(sha256_of(b"".join(store.read(key)))) for key, _ in store.keys("blobs/")}
    return [
        (row.version_id, row.digest)
        for row in found
        if objects.get(row.physical_key) != row.digest or row.state != "live"
    ]


def released(engine):
    return {row.id for row in rows.rows(engine, t.versions) if row.released_at is not None}


def needed(engine):
    with read(engine) as conn:
        return {v: len(ids) for v, ids in packs_by_version(conn).items()}
