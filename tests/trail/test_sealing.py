"""Sealing on both databases, and the log that comes of it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest
import sqlalchemy as sa
from securesystemslib.dsse import Envelope

from deltareg.api.sealing import sealing
from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.trail.audit import record_audit
from deltareg.db.trail.trail import waiting_rows
from deltareg.service.registry import Registry
from deltareg.service.trail.keep import CheckpointStores, differs_from_kept
from deltareg.service.trail.seal import seal_some
from deltareg.store.memory import MemoryStore
from deltareg.trail.check import LogEvidence
from deltareg.trail.lines import check_lines
from tests.benchmarks.statement_counts import StatementCounter
from tests.service import rows
from tests.signers import key_of
from tests.trail.logs import check, fill, lines_of, seal_all

SERVER = key_of("the server")


@pytest.fixture
def registry(engine):
    return Registry(engine, MemoryStore(), signer=SERVER)


def test_rows_are_sealed_in_batches_and_the_log_holds(registry):
    fill(registry, 700)

    sealed = [seal_some(registry, rows=300) for _ in range(4)]

    assert sealed == [300, 300, 101, 0]
    found = check(registry)
    assert (found.findings, found.notices) == ([], [])
    assert (found.size, found.waiting, found.last.checkpoint.size) == (701, 0, 701)
    assert (found.statements, found.from_before) == (70, 700)


def test_a_batch_reads_no_row_of_those_that_wait_behind_it(registry):
    fill(registry, 100)
    seal_all(registry)
    fill(registry, 10_000)
    with registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE")
    counter = StatementCounter(registry.engine)

    with counter.counting() as counts, read(registry.engine) as conn:
        assert len(waiting_rows(conn, limit=20)) == 20

    assert counter.rows_read(counts) < 200


def test_a_row_that_is_not_sealed_yet_is_said_to_wait(registry):
    fill(registry, 3)
    seal_all(registry)
    fill(registry, 2)

    found = check(registry)

    assert (found.findings, found.size, found.waiting) == ([], 4, 2)


def test_what_is_changed_by_an_old_server_waits_as_well(registry):
    with write(registry.engine) as conn:
        record_audit(
            conn,
            actor="ada",
            token_id=None,
            action="x",
            subject="y",
            before=None,
            after={"huge": 1 << 62, "odd": "\u00e9\u2028"},
            request_id="",
        )

    assert seal_all(registry) == 2
    assert check(registry).findings == []


def test_nothing_is_sealed_without_a_key_or_with_one_that_was_revoked(registry):
    fill(registry, 2)

    assert seal_all(Registry(registry.engine, registry.store)) == 0
    with write(registry.engine) as conn:
        conn.execute(
            sa.insert(t.signing_keys).values(
                role="server", name="server", keyid=SERVER.keyid, public=str(SERVER.public), created_at=1, revoked_at=2
            )
        )
    assert seal_all(registry) == 0
    with read(registry.engine) as conn:
        assert conn.execute(sa.select(t.log_leaves)).all() == []


def test_who_seals_second_seals_nothing_twice(registry):
    fill(registry, 5)
    told = []

    def meanwhile(batch):
        told.append(batch.checkpoint.size)
        if len(told) == 1:
            fill(registry, 2)

    seal_some(registry, tell=meanwhile)
    seal_all(registry, tell=meanwhile)

    assert told == [6, 8]
    assert check(registry).findings == []


def test_several_processes_seal_each_row_once_while_others_add_some(registry):
    def work(number):
        for _ in range(5):
            fill(registry, 3) if number % 2 else seal_some(registry, rows=4)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    seal_all(registry)

    found = check(registry)
    assert (found.findings, found.size, found.waiting) == ([], 46, 0)


def test_checkpoints_are_kept_in_a_file_and_in_the_store(registry, tmp_path):
    file = tmp_path / "log" / "checkpoints.jsonl"
    places = CheckpointStores(registry.store, file)
    for number in (3, 1, 260):
        fill(registry, number)
        seal_all(registry, tell=places.keep)

    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 3
    origin = check(registry).origin.rpartition("/")[2]
    assert [each.decode() for each in registry.store.read_log(origin)] == lines
    assert check(registry, kept=file.read_text()).findings == []
    assert list(registry.store.keys()) == []


def test_queries_of_the_sealer_read_no_more_than_they_need(registry):
    fill(registry, 300)
    seal_all(registry)
    fill(registry, 1)

    with rows.asked(registry.engine) as statements:
        seal_all(registry)

    assert len(statements) < 40


def test_a_key_that_was_revoked_shows_nothing_and_its_successor_signs_for_all_of_it(registry):
    fill(registry, 20)
    seal_all(registry)
    fill(registry, 3)
    second = key_of("another server")
    seal_all(replace(registry, signer=second))

    def told(keys, revoked):
        found = check_lines(lines_of(registry), keys, LogEvidence(), revoked=revoked)
        return [each.what for each in found.findings]

    assert told([SERVER.public, second.public], []) == []
    assert told([second.public], [SERVER.public]) == []
    assert told([SERVER.public], [second.public]) == ["unsigned"]
    assert set(told([second.public], [])) == {"statement", "unsigned"}


def test_a_server_says_when_its_database_is_older_than_what_was_kept(registry, tmp_path):
    file = tmp_path / "kept.jsonl"
    places = CheckpointStores(file=file)
    assert differs_from_kept(registry, file) == ""
    for number in (5, 3):
        fill(registry, number)
        seal_all(registry, tell=places.keep)
    assert differs_from_kept(registry, file) == ""

    with write(registry.engine) as conn, ExitStack() as unguarded:
        for table in (t.log_leaves, t.log_checkpoints):
            unguarded.enter_context(rows.unguarded(conn, table))
        conn.execute(sa.delete(t.log_leaves).where(t.log_leaves.c.position >= 6))
        conn.execute(sa.delete(t.log_checkpoints).where(t.log_checkpoints.c.size > 6))

    assert differs_from_kept(registry, file) == "it has 6 rows, and had 9"
    fill(registry, 9)
    with write(registry.engine) as conn:
        conn.execute(sa.delete(t.unsealed).where(t.unsealed.c.audit_id < 9))
    seal_all(registry)
    assert differs_from_kept(registry, file).startswith("its first 9 rows are others")


def test_a_serving_process_seals_by_itself_and_once_more_at_its_end(sqlite_engine, tmp_path):
    registry = Registry(sqlite_engine, MemoryStore(), signer=SERVER)
    places = CheckpointStores(file=tmp_path / "kept.jsonl")
    fill(registry, 3)
    ends = time.monotonic() + 20

    with sealing(registry, places, every_s=60, rows=2):
        while check(registry).size < 4 and time.monotonic() < ends:
            time.sleep(0.01)
        fill(registry, 1)

    found = check(registry, kept=(tmp_path / "kept.jsonl").read_text())
    assert (found.findings, found.size, found.waiting) == ([], 5, 0)


def test_what_the_server_signs_about_a_row_is_a_statement_to_other_tools(sqlite_engine):
    registry = Registry(sqlite_engine, MemoryStore(), signer=SERVER)
    fill(registry, 10)
    seal_all(registry)
    (entry,) = [line for line in lines_of(registry) if line.get("statement")]

    envelope = Envelope.from_dict(json.loads(entry["statement"]))
    envelope.verify([SERVER.public.verifier], 1)

    said = json.loads(envelope.payload)
    assert said["subject"] == [{"name": "lab/x@prod10", "digest": {"sha256": entry["leaf"]["after"]["digest"][7:]}}]
    assert said["predicate"]["row"] == {name: value for name, value in entry["leaf"].items() if name != "statement"}


def test_a_place_that_does_not_answer_holds_nothing_up_and_is_told_once(sqlite_engine, tmp_path, caplog):
    registry = Registry(sqlite_engine, MemoryStore(), signer=SERVER)
    (tmp_path / "a-file").touch()
    places = CheckpointStores(registry.store, tmp_path / "a-file" / "kept.jsonl")
    for number in (2, 3):
        fill(registry, number)
        seal_all(registry, tell=places.keep)

    told = [record.getMessage() for record in caplog.records if "not kept" in record.msg]
    assert len(told) == 1
    assert told[0].startswith(f"checkpoints are not kept in {places.file}: ")
    assert check(registry).size == 6
