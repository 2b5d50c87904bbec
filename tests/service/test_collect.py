"""Collection: frees what nothing needs, and nothing else, whatever happens beside it."""

import threading
import uuid

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.lines import versions
from deltareg.db.runs.runs import enqueue
from deltareg.db.session import read, write
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.storage import forms, packs, uploads
from deltareg.db.upkeep import collection, pins
from deltareg.digest import sha256_of
from deltareg.errors import Forbidden, UploadClosed
from deltareg.service.registry import Registry
from deltareg.service.upkeep import collect
from deltareg.service.upkeep import plan as planning
from deltareg.service.upkeep.plan import plan, plan_collection
from deltareg.store import fresh_key
from deltareg.store.memory import MemoryStore
from tests.service import rows

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
    assert freed == collect.CollectionTotals(versions=1, packs=1, objects=2, size_bytes=len(b"gone") + second_copy)
    assert stored(store) == {b"kept", b"shared"}
    assert rows.missing(engine, store) == []
    assert released(engine) == {gone}
    assert needed(engine) == {kept: 2}


def test_runs_that_read_what_is_freed_end(engine, store, maker, delta):
    """They would ask for packs that are not there, and die of it after three attempts."""
    kept = rows.push(engine, store, maker, delta, b"kept")
    gone = rows.push(engine, store, maker, delta, b"gone")
    with write(engine) as conn:
        for version_id in (kept, gone):
            for what in ("prove", "reencode", "verify"):
                name = f"{what}-{version_id}"
                enqueue(conn, run_id=name, what=what, dedup_key=name, version_id=version_id, request={})
    rows.delete(engine, gone)

    collect.run(engine, store, grace_s=0)

    with read(engine) as conn:
        states = dict(conn.execute(sa.select(t.runs.c.id, t.runs.c.state)).all())
    assert {run for run, state in states.items() if state == "cancelled"} == {f"prove-{gone}", f"reencode-{gone}"}
    assert {state for state in states.values() if state != "cancelled"} == {"queued"}


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

    assert again == collect.CollectionTotals()


def test_a_marked_pack_that_a_version_needs_keeps_its_bytes(engine, store, maker, delta):
    rows.push(engine, store, maker, delta, b"kept")
    with write(engine) as conn:  # as a fault, or a hand in the database, might leave it
        conn.execute(sa.update(t.packs).values(state="deleting"))

    freed = collect.run(engine, store, grace_s=0)

    assert freed == collect.CollectionTotals()
    assert stored(store) == {b"kept"}


def test_packs_of_a_base_stay(engine, store, maker):
    upload_id = rows.upload(engine, maker)
    sent = rows.send(engine, store, upload_id, b"weights")
    base_id = rows.base(engine)
    with write(engine) as conn:
        packs.reference_base_anew(conn, base_id, [rows.adopt(conn, sent)])
        uploads.close_upload(conn, upload_id, state="complete", base_id=base_id)

    freed = collect.run(engine, store, grace_s=0)

    assert freed == collect.CollectionTotals()
    assert stored(store) == {b"weights"}


def test_a_stalled_push_is_closed_and_its_bytes_are_deleted(engine, store, maker):
    upload_id = rows.upload(engine, maker)
    rows.send(engine, store, upload_id, b"half")

    within = collect.run(engine, store, grace_s=3600)
    after = collect.run(engine, store, grace_s=0)

    assert within == collect.CollectionTotals()
    assert after == collect.CollectionTotals(uploads_expired=1, objects=1, size_bytes=4)
    assert stored(store) == set()
    with pytest.raises(UploadClosed):
        finish(engine, upload_id)


def test_what_an_upload_sent_in_vain_is_deleted(engine, store, maker, delta):
    rows.push(engine, store, maker, delta, b"first")
    rows.push(engine, store, maker, delta, b"first")  # the same bytes under another key

    freed = collect.run(engine, store, grace_s=0)

    assert freed == collect.CollectionTotals(objects=1, size_bytes=5)
    assert stored(store) == {b"first"}
    assert rows.missing(engine, store) == []


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
        rows.record_piece(conn, "blake3:both", "", b"b", both)
        rows.record_piece(conn, "blake3:kept", "", b"k", ids[kept])
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

    assert with_child == collect.CollectionTotals()
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
    assert rows.missing(engine, store) == []


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

    planned = plan(engine, store, grace_s=0).now
    untouched = stored(store)
    freed = collect.run(engine, store, grace_s=0)

    assert untouched == before
    assert planned == freed
    assert (freed.versions, freed.uploads_expired, freed.packs) == (2, 1, 2)
    assert needed(engine).keys() == {shared, pinned}


def test_a_plan_says_what_a_run_frees_now_and_with_the_least_grace(engine, store, maker, delta):
    old = rows.push(engine, store, maker, delta, b"old", b"twice")
    young = rows.push(engine, store, maker, delta, b"young", b"twice")
    kept = rows.push(engine, store, maker, delta, b"kept")
    former(engine, store, maker, kept, b"twice", b"former", age_us=9 * DAY_US)
    former(engine, store, maker, kept, b"new", age_us=0)
    former(engine, store, maker, young, b"beside", age_us=0)
    for version_id, age_us in ((old, 2 * DAY_US), (young, 0)):
        rows.delete(engine, version_id)
        age(engine, t.versions, version_id, deleted_at=age_us)
    for number, age_us in enumerate((2 * DAY_US, 2 * DAY_US, 0)):
        upload_id = rows.upload(engine, maker)
        rows.send(engine, store, upload_id, b"stalled %d" % number)
        age(engine, t.uploads, upload_id, touched_at=age_us)
    asked = {"grace_s": 86_400, "keep_forms_s": 7 * 86_400}

    planned = plan(engine, store, least_s=0, **asked)
    freed = collect.run(engine, store, **asked)
    rest = collect.run(engine, store, grace_s=0, keep_forms_s=7 * 86_400)

    assert planned.now == freed
    assert planned.due == {old}
    assert (freed.versions, freed.uploads_expired, freed.packs) == (1, 2, 2)  # `twice` is needed
    assert rest.packs == 3
    assert sums(planned.least) == [a + b for a, b in zip(sums(freed), sums(rest), strict=True)]
    assert stored(store) == {b"kept", b"new"}


def test_a_marked_pack_that_is_needed_is_not_in_a_plan(engine, store, maker, delta):
    rows.push(engine, store, maker, delta, b"kept")
    with write(engine) as conn:
        conn.execute(sa.update(t.packs).values(state="deleting"))

    assert plan(engine, store, grace_s=0).now == collect.CollectionTotals()


def test_what_many_pushes_left_is_planned_page_by_page(engine, store, maker, monkeypatch):
    monkeypatch.setattr(planning, "_PAGE", 2)
    for number in range(5):
        rows.send(engine, store, rows.upload(engine, maker), b"%d" % number)

    planned = plan(engine, store, grace_s=3_600, least_s=0)
    freed = collect.run(engine, store, grace_s=0)

    assert planned.now == collect.CollectionTotals()
    assert planned.least == freed
    assert freed.objects == 5


def test_a_long_line_that_was_deleted_is_let_go_of_from_its_end(engine, store, maker, delta):
    children = {n: [n + 1] for n in range(1, 40_000)}

    whole = collect.children_first(range(1, 40_001), children)
    held = collect.children_first(range(1, 40_000), children)

    assert whole == list(range(40_000, 0, -1))
    assert held == []


def test_collection_is_for_admins_and_leaves_a_trace(engine, store, maker, delta):
    rows.delete(engine, rows.push(engine, store, maker, delta, b"gone"))
    registry = Registry(engine, store)
    reader = rows.caller(engine, "reader", scopes={"read"})

    with pytest.raises(Forbidden):
        collect.run_collection(registry, reader, grace_s=0)
    planned = plan_collection(registry, maker, grace_s=0)
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
    assert rows.missing(engine, store) == []


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
    assert rows.missing(engine, store) == []


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
        with rows.unguarded(conn, t.revisions):  # nothing deleted is promoted otherwise
            promote(conn, maker, delta, [version_id])
        collector.start()
        until_somebody_waits(engine)
    collector.join()

    assert freed == [collect.CollectionTotals()]


@pytest.mark.parametrize(
    ("rollback", "kept"), [({}, 6), ({"revisions": 8, "days": 0}, 9), ({"revisions": 1, "days": 0}, 2)]
)
def test_a_channel_pins_the_window_that_its_policy_says(engine, store, rollback, kept):
    maker = rows.caller(engine)
    delta = rows.line(engine, maker=maker)
    served = [rows.push(engine, store, maker, delta, b"%d" % number) for number in range(12)]
    channel(engine, maker, delta, served, age_us=40 * DAY_US)
    with write(engine) as conn:
        policy = {"rollback": rollback} if rollback else {}
        conn.execute(sa.update(t.channels).values(policy=policy))
    for version_id in served:
        rows.delete(engine, version_id)

    collect.run(engine, store, grace_s=0)

    assert released(engine) == set(served[:-kept])


@pytest.mark.parametrize(("days", "freed"), [(60, 0), (20, 6)])
def test_a_longer_window_of_days_pins_as_long(engine, store, days, freed):
    maker = rows.caller(engine)
    delta = rows.line(engine, maker=maker)
    served = [rows.push(engine, store, maker, delta, b"%d" % number) for number in range(12)]
    channel(engine, maker, delta, served, age_us=40 * DAY_US)
    with write(engine) as conn:
        policy = {"rollback": {"revisions": 5, "days": days}}
        conn.execute(sa.update(t.channels).values(policy=policy))
    for version_id in served:
        rows.delete(engine, version_id)

    collect.run(engine, store, grace_s=0)

    assert len(released(engine)) == freed


def finish(engine, upload_id):
    with write(engine) as conn:
        if not rows.is_open(conn, upload_id):
            raise UploadClosed("it is not open")


def mark(engine):
    """Release and mark, and then end before the first object is deleted."""
    window = pins.PinWindow(moves=5, us=30 * DAY_US)
    with write(engine) as conn:
        for version_id in collection.releasable(conn, grace_us=0, window=window, most=1000)[0]:
            assert collection.release(conn, version_id, window=window)
        loose = collection.unreferenced_packs(conn, after=0, limit=100)
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
        sa.insert(t.channels).values(delta_id=delta, name="prod", policy={}).returning(t.channels.c.id)
    ).scalar_one()
    for number, version_id in enumerate(version_ids, start=1):
        own = sa.update(t.channels).where(t.channels.c.id == channel_id)
        conn.execute(own.values(revision=number))
        digest = sa.select(t.versions.c.manifest_digest).where(t.versions.c.id == version_id)
        conn.execute(
            sa.insert(t.revisions).values(
                channel_id=channel_id,
                number=number,
                kind="promote",
                version_id=version_id,
                digest=digest.scalar_subquery(),
                base_root=rows.BASE_ROOT,
                actor_id=maker.principal_id,
                reason="",
                verdict_ids=[],
                break_glass=False,
                created_at=now_us() - age_us,
            )
        )


def until_somebody_waits(engine):
    """Wait until a connection to the database of the engine waits for a lock."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(100_000):
        with read(engine) as conn:
            if conn.execute(waiting).scalar_one():
                return
    raise AssertionError("nobody waits")


def former(engine, store, maker, version_id, *contents, age_us):
    """Let a version have a former form, made of packs, that was replaced so long ago."""
    upload_id = rows.upload(engine, maker)
    sent = [rows.send(engine, store, upload_id, data) for data in contents]
    with write(engine) as conn:
        form_id = forms.add_form(
            conn,
            version_id,
            [rows.adopt(conn, one) for one in sent],
            why="push",
            state="former",
            storage_map=b"{}",
            stored_bytes=1,
            created_at=now_us() - age_us,
        )
        uploads.close_upload(conn, upload_id, state="complete", version_id=version_id)
    return form_id


def age(engine, table, row_id, **columns):
    """Let times of a row be so much earlier."""
    with write(engine) as conn:
        earlier = {name: table.c[name] - by_us for name, by_us in columns.items()}
        conn.execute(sa.update(table).where(table.c.id == row_id).values(**earlier))


def sums(freed):
    return [freed.versions, freed.uploads_expired, freed.packs, freed.objects, freed.size_bytes]


def packs_by_version(conn):
    found: dict[int, list[int]] = {}
    for row in conn.execute(sa.select(t.version_packs)):
        found.setdefault(row.version_id, []).append(row.pack_id)
    return found


def stored(store):
    return {b"".join(store.read(key)) for key, _ in store.keys("blobs/")}


def released(engine):
    return {row.id for row in rows.rows(engine, t.versions) if row.released_at is not None}


def needed(engine):
    with read(engine) as conn:
        return {v: len(ids) for v, ids in packs_by_version(conn).items()}
