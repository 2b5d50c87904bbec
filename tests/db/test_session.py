"""Transactions on both databases: snapshots, rollback, lost connections, second tries."""

import gc
import sqlite3
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db.access.bearers import live_token
from deltareg.db.session import create_engine, glance, read, with_retry, write
from deltareg.db.sql.clock import now_us, read_clock
from deltareg.db.sql.prepared import PreparedStatement
from deltareg.db.tables import namespaces, principals
from deltareg.errors import Conflict, DiskFull, Misconfigured, Unavailable
from tests.fixtures.databases import postgresql_started, server_url


def test_the_clock_counts_microseconds_since_the_epoch(engine):
    before = time.time_ns() // 1000

    with read(engine) as conn:
        told = read_clock(conn)

    assert before - 1_000 <= told <= time.time_ns() // 1000


def test_the_clock_goes_on_within_a_transaction(engine):
    with read(engine) as conn:
        first = read_clock(conn)
        deadline = time.monotonic() + 5
        while read_clock(conn) == first and time.monotonic() < deadline:
            pass
        later = read_clock(conn)

    assert later > first


def test_the_connection_that_was_used_last_is_lent_first(postgresql_engine):
    with read(postgresql_engine) as given_back_last, read(postgresql_engine):
        latest = backend_of(given_back_last)

    with read(postgresql_engine) as conn:
        assert backend_of(conn) == latest


def test_a_prepared_statement_is_prepared_by_its_first_use(postgresql_engine):
    statement = PreparedStatement(sa.select(namespaces.c.id).where(namespaces.c.name == sa.bindparam("name")))

    with read(postgresql_engine) as conn:
        statement.run(conn, {"name": "lab"})
        prepared = conn.execute(sa.text("SELECT statement FROM pg_prepared_statements")).scalars().all()

    assert [text for text in prepared if "FROM namespaces" in text]


def backend_of(conn):
    """Give the process of the database that serves a connection."""
    return conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()


def test_an_inserted_row_gets_its_time_from_the_database(engine):
    with write(engine) as conn:
        conn.execute(sa.insert(namespaces).values(name="lab"))
        age = conn.execute(sa.select(now_us() - namespaces.c.created_at)).scalar_one()

    assert 0 <= age < 60_000_000


def test_a_transaction_that_raises_leaves_nothing(engine):
    def broken(conn):
        conn.execute(sa.insert(namespaces).values(name="lab"))
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        with_retry(engine, broken)

    assert names(engine) == []


def test_a_snapshot_does_not_see_what_is_committed_meanwhile(engine):
    with read(engine) as conn:
        before = conn.execute(sa.select(namespaces.c.name)).scalars().all()
        add(engine, "lab")
        after = conn.execute(sa.select(namespaces.c.name)).scalars().all()

    assert (before, after) == ([], [])
    assert names(engine) == ["lab"]


@pytest.mark.postgres
def test_a_reading_transaction_cannot_write(postgresql_engine):
    with pytest.raises(sa.exc.InternalError, match="read-only"), read(postgresql_engine) as conn:
        conn.execute(sa.insert(namespaces).values(name="lab"))


def test_foreign_keys_are_enforced(engine):
    with pytest.raises(sa.exc.IntegrityError), write(engine) as conn:
        conn.execute(sa.insert(namespaces).values(name="lab", created_by=404))


def test_sqlite_keeps_a_commit_through_a_power_cut(sqlite_engine):
    with read(sqlite_engine) as conn:
        journal = conn.exec_driver_sql("PRAGMA journal_mode").scalar()
        synchronous = conn.exec_driver_sql("PRAGMA synchronous").scalar()

    assert (journal, synchronous) == ("wal", 2)  # 2 is FULL


def test_a_second_sqlite_writer_waits_for_the_first(sqlite_engine):
    order = []
    started = threading.Event()

    def second():
        started.set()
        with write(sqlite_engine) as conn:
            order.append("second")
            conn.execute(sa.insert(namespaces).values(name="second"))

    with write(sqlite_engine) as conn:
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        conn.execute(sa.insert(namespaces).values(name="first"))
        order.append("first")
    thread.join()

    assert order == ["first", "second"]


def test_a_sqlite_writer_that_waited_too_long_is_told_to_try_again(sqlite_url):
    patient, hasty = create_engine(sqlite_url), create_engine(sqlite_url, busy_timeout_s=0.05)

    with write(patient), pytest.raises(Unavailable, match="busy with another writer") as caught, write(hasty):
        pass

    patient.dispose()
    hasty.dispose()
    assert isinstance(caught.value.__cause__, sa.exc.OperationalError)


def test_a_full_disk_is_named(sqlite_engine):
    def fill(conn):
        conn.exec_driver_sql("PRAGMA max_page_count = 1")
        conn.execute(sa.insert(principals).values(name="x" * 500_000, kind="user"))

    with pytest.raises(DiskFull):
        with_retry(sqlite_engine, fill)


def test_a_function_is_run_again_after_a_temporary_fault(engine):
    pauses: list[float] = []
    attempts: list[sa.Connection] = []

    def flaky(conn):
        conn.execute(sa.insert(namespaces).values(name=f"attempt-{len(attempts)}"))
        attempts.append(conn)
        if len(attempts) < 3:
            raise busy()
        return len(attempts)

    result = with_retry(engine, flaky, jitter=lambda: 0.0, sleep=pauses.append)

    assert result == 3
    assert names(engine) == ["attempt-2"]
    assert pauses == [0.05, 0.1]


def test_the_last_attempt_tells_the_fault(engine):
    attempts: list[sa.Connection] = []

    def broken(conn):
        attempts.append(conn)
        raise busy()

    with pytest.raises(Unavailable):
        with_retry(engine, broken, attempts=3, sleep=lambda _: None)

    assert len(attempts) == 3


def test_a_fault_that_no_retry_cures_is_raised_at_once(engine):
    attempts: list[sa.Connection] = []

    def wrong(conn):
        attempts.append(conn)
        conn.execute(sa.insert(namespaces).values(name="lab", created_by=404))

    with pytest.raises(sa.exc.IntegrityError):
        with_retry(engine, wrong)

    assert len(attempts) == 1


@pytest.mark.postgres
@pytest.mark.filterwarnings("ignore:.*deleted while still open:ResourceWarning")
def test_a_connection_that_is_cut_while_rows_come_is_no_trace_in_the_log(postgresql_engine, caplog):
    """A backup that lost its database showed how the library closes a cursor, before it said so."""
    numbers = sa.text("SELECT g FROM generate_series(1, 100000) AS g")

    with suppress(Unavailable), read(postgresql_engine) as conn:
        rows = conn.execution_options(stream_results=True).execute(numbers)
        cut_connections(postgresql_engine)
        rows.close()
    del rows, conn
    gc.collect()  # here, where what the library says of it is no fault

    assert "Error closing cursor" not in caplog.text


@pytest.mark.postgres
def test_a_host_that_is_gone_is_noticed(postgresql_engine):
    """A database's host that vanishes says nothing: the kernel has to be told how long to wait for it."""
    with postgresql_engine.connect() as conn:
        asked = conn.connection.driver_connection.info.get_parameters()

    assert int(asked["tcp_user_timeout"]) <= 30_000
    assert int(asked["keepalives_idle"]) + int(asked["keepalives_interval"]) * int(asked["keepalives_count"]) <= 30


@pytest.mark.postgres
def test_a_transaction_whose_connection_is_cut_runs_again(postgresql_engine):
    attempts: list[sa.Connection] = []

    def cut_once(conn):
        conn.execute(sa.insert(namespaces).values(name=f"attempt-{len(attempts)}"))
        attempts.append(conn)
        if len(attempts) == 1:
            cut_connections(postgresql_engine)
        return conn.execute(sa.select(namespaces.c.name)).scalar_one()

    result = with_retry(postgresql_engine, cut_once)

    assert result == "attempt-1"
    assert names(postgresql_engine) == ["attempt-1"]


@pytest.mark.postgres
def test_a_connection_lost_before_commit_is_not_taken_for_a_commit(postgresql_engine):
    attempts: list[sa.Connection] = []

    def cut_at_the_end(conn):
        conn.execute(sa.insert(namespaces).values(name="lab"))
        attempts.append(conn)
        cut_connections(postgresql_engine)

    with pytest.raises(Unavailable):
        with_retry(postgresql_engine, cut_at_the_end)

    assert len(attempts) == 1, "nobody knows what became of the COMMIT, so it is not repeated"
    assert names(postgresql_engine) == []


@pytest.mark.postgres
def test_a_connection_that_was_cut_while_it_rested_is_replaced_before_it_is_used(postgresql_engine):
    with read(postgresql_engine) as conn:
        cut = conn.scalar(sa.text("SELECT pg_backend_pid()"))
    cut_connections(postgresql_engine)
    time.sleep(0.6)

    with read(postgresql_engine) as conn:
        assert conn.scalar(sa.text("SELECT pg_backend_pid()")) != cut


@pytest.mark.postgres
def test_one_that_was_cut_just_after_its_use_is_told_of_once(postgresql_engine):
    with read(postgresql_engine) as conn:
        conn.scalar(sa.text("SELECT 1"))
    cut_connections(postgresql_engine)

    with pytest.raises(Unavailable), glance(postgresql_engine) as conn:
        live_token(conn, "of nobody")
    with glance(postgresql_engine) as conn:
        assert live_token(conn, "of nobody") is None


@pytest.mark.postgres
def test_what_begins_no_transaction_leaves_none_open(postgresql_engine):
    with glance(postgresql_engine) as conn:
        began = [conn.scalar(sa.text("SELECT now()")) for _ in range(2)]

    assert began[0] < began[1]


@pytest.mark.postgres
def test_pooled_connections_survive_a_restart_of_the_server():
    folder = Path(tempfile.mkdtemp(prefix="deltareg-pg-"))
    with postgresql_started(folder) as server:
        engine = create_engine(server_url(server))
        with write(engine) as conn:
            conn.exec_driver_sql("CREATE TABLE kept (number INTEGER)")
            conn.exec_driver_sql("INSERT INTO kept VALUES (7)")
        server.stop()
        with pytest.raises(Unavailable, match="cannot answer now"), read(engine) as conn:
            conn.scalar(sa.text("SELECT number FROM kept"))
        server.ensure_postgres_running()

        number = with_retry(engine, lambda conn: conn.scalar(sa.text("SELECT number FROM kept")))

        engine.dispose()
    assert number == 7


@pytest.mark.parametrize("url", ["mysql://h/n", "sqlite://", "sqlite:///:memory:", "", "x"])
def test_a_database_that_is_not_served_is_refused(url):
    with pytest.raises(Misconfigured):
        create_engine(url)


def test_a_password_stays_out_of_the_message():
    engine = create_engine("postgresql://u:hunter2@localhost:1/none")

    with pytest.raises(Unavailable) as caught, read(engine):
        pass

    assert "hunter2" not in str(caught.value)


@pytest.mark.postgres
def test_a_transaction_that_was_forestalled_is_run_again_and_sees_the_others_row(postgresql_engine):
    looks = []

    def find_or_add(conn):
        found = conn.execute(sa.select(namespaces.c.id).where(namespaces.c.name == "lab")).scalar()
        looks.append(found)
        if found is not None:
            return found
        add(postgresql_engine, "lab")  # another connection, which commits
        return conn.execute(sa.insert(namespaces).values(name="lab").returning(namespaces.c.id)).scalar_one()

    result = with_retry(postgresql_engine, find_or_add, sleep=no_pause)

    assert looks == [None, result]
    assert names(postgresql_engine) == ["lab"]


def test_a_key_that_is_in_the_way_each_time_is_a_conflict(engine):
    add(engine, "lab")
    attempts = []

    def again(conn):
        attempts.append(1)
        conn.execute(sa.insert(namespaces).values(name="lab"))

    with pytest.raises(Conflict, match="at this moment") as caught:
        with_retry(engine, again, attempts=3, sleep=no_pause)

    assert len(attempts) == 3
    assert caught.value.fix
    assert isinstance(caught.value.__cause__, sa.exc.IntegrityError)


def no_pause(_seconds):
    raise AssertionError("the other has committed: there is nothing to wait for")


def names(engine):
    with read(engine) as conn:
        return list(conn.execute(sa.select(namespaces.c.name)).scalars())


def add(engine, name):
    with write(engine) as conn:
        conn.execute(sa.insert(namespaces).values(name=name))


def busy():
    cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return sa.exc.OperationalError("BEGIN IMMEDIATE", None, cause)


def cut_connections(engine):
    """End all connections to the database of the engine but the one that asks for it."""
    with create_engine(engine.url).connect() as conn:
        conn.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        conn.detach()


@pytest.mark.parametrize("has_another", [False, True])
def test_a_file_that_is_not_in_its_place_takes_no_transaction(tmp_path, has_another):
    path = tmp_path / "registry.db"
    engine = create_engine(f"sqlite:///{path}")
    with write(engine) as conn:
        conn.execute(sa.text("CREATE TABLE t (x INTEGER)"))

    path.rename(tmp_path / "moved.db")
    if has_another:
        path.touch()

    told = "replaced" if has_another else "removed"
    with pytest.raises(Unavailable, match=f"registry.db was {told} under the running server"), write(engine) as conn:
        conn.execute(sa.text("INSERT INTO t VALUES (1)"))
    if not has_another:
        (tmp_path / "moved.db").rename(path)
        with write(engine) as conn:
            assert conn.execute(sa.text("INSERT INTO t VALUES (2) RETURNING x")).scalar() == 2
