"""Operations: one server at a time does each, goes on where another was killed, and stops when it is paused."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep import finished
from deltareg.errors import Forbidden, NotFound, StoreUnavailable
from deltareg.service.operations.kinds import all_operations
from deltareg.service.operations.kinds import collect as collecting
from deltareg.service.operations.operation import KeepingTimes
from deltareg.service.operations.operations import change_operation, list_operations, show_operation
from deltareg.service.operations.working import OperationPace, OperationWorker
from deltareg.service.registry import Registry
from deltareg.service.upkeep import collect
from deltareg.service.upkeep.counts import wrong_counts
from deltareg.store.memory import MemoryStore
from deltareg.wire import OperationChange
from deltareg.words import OPERATION_NAMES
from tests.service import rows

NOW = KeepingTimes(upload_grace_s=0, deleted_s=0, forms_s=0, finished_s=0)
DAY_US = 86_400 * US_PER_S


class Killed(BaseException):
    """A server that is killed in the middle of a step."""


@pytest.fixture
def registry(engine):
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine)


@pytest.fixture
def delta(engine, ada):
    return rows.line(engine, maker=ada)


def server(registry, name="one", **pace):
    worker = OperationWorker(registry, NOW, rest=lambda _: False, pace=OperationPace(**pace), holder=name)
    worker.add_operations()
    with write(registry.engine) as conn:  # only what a test asks for
        conn.execute(sa.update(t.operations).values(due_at=None, asked_at=None))
    return worker


def ask(registry, ada, kind, **change):
    return change_operation(registry, ada, kind, OperationChange(**change))


def work(worker):
    while worker.work_on_one():
        pass


def garbage(registry, ada, delta, *contents):
    for each in contents:
        rows.delete(registry.engine, rows.push(registry.engine, registry.store, ada, delta, each))


def stored(registry):
    return {b"".join(registry.store.read(key)) for key, _ in registry.store.keys("blobs/")}


def test_there_is_one_for_each_name():
    assert tuple(all_operations()) == OPERATION_NAMES


def test_a_collection_by_itself_frees_what_one_by_hand_frees(registry, ada, delta):
    kept = rows.push(registry.engine, registry.store, ada, delta, b"kept", b"shared")
    garbage(registry, ada, delta, b"one", b"two", b"shared")
    worker = server(registry)

    ask(registry, ada, "collect", now=True)
    work(worker)

    told = show_operation(registry, ada, "collect")
    assert stored(registry) == {b"kept", b"shared"}
    assert (told.state, told.outcome["versions"], told.outcome["objects"]) == ("waiting", 3, 3)
    assert (told.is_under_way, told.counts, told.failure) == (False, {}, "")
    assert rows.missing(registry.engine, registry.store) == []
    assert collect.run(registry.engine, registry.store, grace_s=0) == collect.CollectionTotals()
    assert kept


def test_nothing_is_done_that_is_not_due(registry, ada, delta):
    garbage(registry, ada, delta, b"one")
    worker = server(registry)

    assert worker.work_on_one() is False
    assert stored(registry) == {b"one"}


def test_a_server_starts_with_what_is_due_at_each_start(registry, ada):
    OperationWorker(registry, NOW, rest=lambda _: False).add_operations()

    due = {each.kind for each in list_operations(registry, ada) if each.due_at and each.due_at <= now_text(registry)}
    assert due == {"backfill", "tidy"}
    assert [each.kind for each in list_operations(registry, ada) if each.state == "off"] == ["prove", "repair"]


def now_text(registry):
    from deltareg.db.session import read
    from deltareg.db.sql.clock import read_clock
    from deltareg.service.clock import rfc3339

    with read(registry.engine) as conn:
        return rfc3339(read_clock(conn))


def test_one_that_is_held_is_left_to_who_holds_it(registry, ada, delta, monkeypatch):
    garbage(registry, ada, delta, b"one")
    first, second = server(registry, "one"), server(registry, "two")
    at_work, go_on = threading.Event(), threading.Event()
    before = collect.release_some

    def slow(*args, **kwargs):
        at_work.set()
        assert go_on.wait(60)
        return before(*args, **kwargs)

    monkeypatch.setattr(collecting, "release_some", slow)
    ask(registry, ada, "collect", now=True)
    holding = threading.Thread(target=first.work_on_one)
    holding.start()
    assert at_work.wait(60)

    assert second.work_on_one() is False
    assert show_operation(registry, ada, "collect").state == "running"
    go_on.set()
    holding.join()
    assert stored(registry) == set()


@pytest.mark.parametrize("step", range(6))
def test_another_goes_on_for_one_that_was_killed(registry, ada, delta, monkeypatch, step):
    monkeypatch.setattr(collect, "_BATCH", 1)
    keep = rows.push(registry.engine, registry.store, ada, delta, b"kept")
    garbage(registry, ada, delta, b"one", b"two", b"three")
    steps = iter(range(100))
    operation = all_operations()["collect"]

    def killed(context, place):
        outcome = operation.step(context, place)
        if next(steps) == step:  # it has worked, and never said so
            raise Killed
        return outcome

    first, second = server(registry, "one", lease_s=0.0), server(registry, "two")
    ask(registry, ada, "collect", now=True)
    dying = replace(operation, step=killed)
    monkeypatch.setattr("deltareg.service.operations.working.all_operations", lambda: {"collect": dying})
    with pytest.raises(Killed):
        work(first)
    under_way = show_operation(registry, ada, "collect")
    assert under_way.is_under_way or step == 0

    monkeypatch.undo()
    monkeypatch.setattr(collect, "_BATCH", 1)
    work(second)

    assert stored(registry) == {b"kept"}
    assert rows.missing(registry.engine, registry.store) == []
    assert show_operation(registry, ada, "collect").is_under_way is False
    assert keep


def test_who_lost_the_lease_saves_nothing_more(registry, ada, delta, monkeypatch):
    garbage(registry, ada, delta, b"one")
    first, second = server(registry, "one", lease_s=0.0), server(registry, "two")
    before = collect.release_some

    def overtaken(*args, **kwargs):
        monkeypatch.setattr(collecting, "release_some", before)
        work(second)  # while the first is in its step, its lease has run out
        return before(*args, **kwargs)

    monkeypatch.setattr(collecting, "release_some", overtaken)
    ask(registry, ada, "collect", now=True)
    first.work_on_one()

    told = show_operation(registry, ada, "collect")
    assert (told.is_under_way, told.outcome["objects"]) == (False, 1)
    assert stored(registry) == set()


def test_a_paused_one_stops_after_its_step_and_goes_on_from_there(registry, ada, delta, monkeypatch):
    monkeypatch.setattr(collect, "_BATCH", 1)
    garbage(registry, ada, delta, b"one", b"two")
    worker = server(registry)
    ask(registry, ada, "collect", now=True)
    before = collect.release_some

    def pausing(*args, **kwargs):
        ask(registry, ada, "collect", paused=True)
        return before(*args, **kwargs)

    monkeypatch.setattr(collecting, "release_some", pausing)
    work(worker)
    paused = show_operation(registry, ada, "collect")
    monkeypatch.setattr(collecting, "release_some", before)
    assert (paused.state, paused.is_under_way, paused.counts) == ("paused", True, {"versions": 1})
    assert stored(registry) == {b"one", b"two"}

    ask(registry, ada, "collect", paused=False)
    work(worker)
    assert stored(registry) == set()
    assert show_operation(registry, ada, "collect").outcome["versions"] == 2


def test_what_fails_is_told_and_tried_again(registry, ada, delta, monkeypatch):
    garbage(registry, ada, delta, b"one")
    worker = server(registry, retry_s=0.0)

    def refuse(_key):
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(registry.store, "delete", refuse)
    ask(registry, ada, "collect", now=True)
    worker.work_on_one()
    failed = show_operation(registry, ada, "collect")
    monkeypatch.undo()
    work(worker)

    assert (failed.failure, failed.is_under_way) == ("the store does not answer", True)
    assert show_operation(registry, ada, "collect").failure == ""
    assert stored(registry) == set()


def test_a_round_that_is_asked_for_during_another_comes_after_it(registry, ada, delta, monkeypatch):
    worker = server(registry)
    ask(registry, ada, "recount", now=True)
    rounds: list[object] = []
    operation = all_operations()["recount"]

    def counted(context, place):
        if not rounds:
            ask(registry, ada, "recount", now=True)
        rounds.append(place)
        return operation.step(context, place)

    monkeypatch.setattr(
        "deltareg.service.operations.working.all_operations", lambda: {"recount": replace(operation, step=counted)}
    )
    work(worker)

    assert len(rounds) == 2


def test_how_often_is_set_for_all_servers_and_logged(registry, ada):
    server(registry)

    told = ask(registry, ada, "collect", every_s=timedelta(hours=12).total_seconds(), percent=5)
    off = ask(registry, ada, "collect", every_s=0)

    assert (told.every_s, told.percent, told.set_by) == (43_200, 5, "ada")
    assert (off.every_s, off.state, off.due_at) == (0, "off", None)
    assert [row.action for row in rows.rows(registry.engine, t.audit)] == ["operation.set"] * 2


def test_a_long_one_lets_others_have_their_turn(registry, ada, delta, monkeypatch):
    monkeypatch.setattr(collect, "_BATCH", 1)
    garbage(registry, ada, delta, b"one", b"two", b"three")
    worker = server(registry, slice_s=0.0)  # a step each
    ask(registry, ada, "collect", now=True)
    ask(registry, ada, "recount", now=True)

    assert worker.work_on_one()
    assert worker.work_on_one()

    assert show_operation(registry, ada, "recount").ended_at is not None
    assert show_operation(registry, ada, "collect").is_under_way


def test_who_is_no_admin_neither_sees_nor_steers_them(registry, engine):
    eve = rows.caller(engine, "eve", scopes=("read", "push"))

    for refused in (
        lambda: list_operations(registry, eve),
        lambda: show_operation(registry, eve, "collect"),
        lambda: ask(registry, eve, "collect", paused=True),
    ):
        with pytest.raises(Forbidden):
            refused()


def test_there_is_nothing_else_by_another_name(registry, ada):
    with pytest.raises(NotFound, match="no operation 'sweep'"):
        show_operation(registry, ada, "sweep")


def test_pushes_that_ended_long_ago_are_dropped_once_nothing_that_they_brought_is_there(registry, ada, delta):
    engine, store = registry.engine, registry.store
    rows.push(engine, store, ada, delta, b"kept")
    garbage(registry, ada, delta, b"gone")
    open_one = rows.upload(engine, ada)
    left = rows.upload(engine, ada)
    rows.send(engine, store, left, b"left")
    with write(engine) as conn:
        conn.execute(sa.update(t.uploads).where(t.uploads.c.id == left).values(state="aborted"))
    worker = server(registry)

    ask(registry, ada, "tidy", now=True)
    work(worker)

    # The aborted one wrote a key that a collection has to sweep first; what others brought is there.
    assert len(rows.rows(engine, t.uploads)) == 4
    for kind in ("collect", "tidy"):
        ask(registry, ada, kind, now=True)
        work(worker)
    assert stored(registry) == {b"kept"}
    assert [row.state for row in rows.rows(engine, t.uploads) if row.id not in {open_one, left}] == ["complete"]
    assert wrong_counts(engine) == []


def test_a_run_that_a_verdict_names_is_never_dropped(engine, ada, delta):
    version = rows.version(engine, delta)
    values = {"what": "verify", "version_id": version, "request": {}, "labels": {}, "state": "done"}
    old = {"created_at": 1, "finished_at": 2}
    with write(engine) as conn:
        for name in ("judged", "bare"):
            conn.execute(sa.insert(t.runs).values(id=name, dedup_key=name, **values, **old))
        bound = dict.fromkeys(
            ("manifest_digest", "base_root", "suite", "suite_digest", "verifier", "policy_digest", "dtype"), ""
        )
        told = {"verdict": "inconclusive", "base_evidence": "exact", "checks": [], "environment": {}, "sandbox": ""}
        with rows.unguarded(conn, t.verdicts):
            conn.execute(
                sa.insert(t.verdicts).values(id="v", run_id="judged", version_id=version, seed=1, **bound, **told)
            )
        ended = finished.ended_runs(conn, keep_us=DAY_US, limit=9)
        dropped = finished.drop_runs(conn, ["judged", "bare"], keep_us=DAY_US)

    assert (list(ended), dropped) == (["bare"], 1)
    assert [row.id for row in rows.rows(engine, t.runs)] == ["judged"]


def test_what_is_left_of_a_version_without_bytes_is_put_away_once(registry, ada, delta):
    engine = registry.engine
    kept = rows.push(engine, registry.store, ada, delta, b"kept")
    gone = rows.push(engine, registry.store, ada, delta, b"gone")
    deleted = rows.push(engine, registry.store, ada, delta, b"deleted")
    with write(engine) as conn:
        for version in (kept, gone, deleted):
            conn.execute(sa.insert(t.search_terms).values(term="w:word", version_id=version))
            conn.execute(sa.insert(t.version_metrics).values(version_id=version, name="n", source="s", value=1.0))
            conn.execute(sa.insert(t.weight_marks).values(mark=version, version_id=version))
            conn.execute(sa.insert(t.cards).values(version_id=version, document=b"{}"))
    rows.delete(engine, gone)
    collect.run(engine, registry.store, grace_s=0)
    rows.delete(engine, deleted)  # it can be restored still
    worker = server(registry)

    for _ in range(2):
        ask(registry, ada, "archive", now=True)
        work(worker)

    for table in (t.search_terms, t.version_metrics, t.weight_marks, t.cards):
        assert {row.version_id for row in rows.rows(engine, table)} == {kept, deleted}, table.name
    left = {row.id: row for row in rows.rows(engine, t.versions)}
    assert [row.id for row in left.values() if row.put_away_at] == [gone]
    assert left[gone].storage_map == b'{"packs":[],"pieces":{},"schema":"deltareg.storage/1"}'
    assert show_operation(registry, ada, "archive").outcome == {}
