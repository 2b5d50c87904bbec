"""A registry that two replicas serve, put back to its beginning before each schedule."""

import sqlite3
import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fastapi.testclient import TestClient

from deltareg.api.app import create_app
from deltareg.db.session import create_engine
from deltareg.db.tables import metadata
from deltareg.service.authority import caller_grants, sight
from deltareg.service.authority import decide as decide_module
from deltareg.service.registry import Registry
from deltareg.store import open_store
from tests.fixtures.databases import sharing_statements
from tests.fixtures.registries import LOOPBACK, running
from tests.pairs.operations import build
from tests.pairs.pauses import HEADER, Pauses, PausingStore, naming_actor
from tests.pairs.state import read_rows

_CACHES = (
    caller_grants.grants_of_token,
    caller_grants.read_holdings,
    caller_grants.grants_within,
    caller_grants.grants_by_sight,
    sight.sight_of,
    decide_module.decide_cached,
)
_PATIENCE_S = 40.0


@dataclass
class World:
    """Two replicas over one database and one store.

    Attributes:
        engine: A connection of nobody's, to look at what is left.
        store: The store, without pauses.
        pauses: The pauses of both replicas.
        operations: The operations, by name.
        replicas: The app of each actor.
    """

    engine: object
    store: object
    pauses: Pauses
    operations: dict
    replicas: dict = field(default_factory=dict)
    registries: list = field(default_factory=list)
    _rows: object = None
    _blobs: dict = field(default_factory=dict)

    def reset(self):
        """Put the database and the store back to what they were."""
        self._rows.restore()
        there = dict(self.store.keys(""))
        for key in there.keys() - self._blobs.keys():
            self.store.delete(key)
        for key in self._blobs.keys() - there.keys():
            self.store.write(key, [self._blobs[key]])
        for cache in _CACHES:
            cache.cache_clear()
        for registry in self.registries:  # names are cached by a number that comes again
            registry.visibilities.__init__()

    def keep(self):
        """Take what there is now for the beginning."""
        self._blobs = {key: b"".join(self.store.read(key)) for key, _ in self.store.keys("")}

    def read(self):
        """Read all rows of all tables, by table; with the names of those that may have been written to."""
        return self._rows.read()

    def ask(self, actor, operation):
        """Send an operation to the replica of an actor; give the answer."""
        headers = dict(operation.headers) | {HEADER: actor}
        return self.replicas[actor].request(operation.method, operation.path, headers=headers, content=operation.body)

    def run_beside(self, first, others, at):
        """Run the first until a pause, then the others, then the rest.

        Returns:
            The answers, in this order; None for an operation that did not end.
        """
        answers = dict.fromkeys(range(1 + len(others)))
        self.pauses.begin(at)

        def ask_first():
            answers[0] = self.ask("a", first)

        def ask_others():
            for number, operation in enumerate(others, 1):
                answers[number] = self.ask("b", operation)

        ours, theirs = (threading.Thread(target=ask, daemon=True) for ask in (ask_first, ask_others))
        ours.start()
        while ours.is_alive() and not self.pauses.reached.wait(0.002):
            pass
        theirs.start()
        while self.pauses.reached.is_set() and theirs.is_alive() and not self._rows.is_blocked():
            theirs.join(0.002)
        self.pauses.resumed.set()
        for thread in (ours, theirs):
            thread.join(_PATIENCE_S)
        return tuple(answers.values())

    def run_in_turn(self, *operations):
        """Run operations one after the other; give their answers, the first by replica `a`."""
        self.pauses.begin(None)
        return [self.ask(actor, operation) for actor, operation in zip("ab", operations, strict=False)]


class SqliteRows:
    """The rows of a SQLite file; only one writes at a time, and nobody waits for who only looks."""

    def __init__(self, engine, folder):
        self._engine = engine
        self._path, self._kept = Path(engine.url.database), folder / "beginning.db"
        self._copy(self._path, self._kept)

    def restore(self):
        self._copy(self._kept, self._path)

    def is_blocked(self):
        return False

    def read(self):
        """Read all rows of all tables, by table; any of them may have been written to."""
        return read_rows(self._engine, metadata.tables), list(metadata.tables)

    def _copy(self, source, target):
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target, timeout=10)) as new:
            old.backup(new)


class PostgresqlRows:
    """The rows of a PostgreSQL database: only the tables that were written to are read and written anew.

    A trigger of the harness counts the statements that write to a table, by a sequence: no lock, no row.
    """

    def __init__(self, engine):
        self._engine = engine
        self._kept, self._columns = {}, {}
        with self._cursor() as cursor:
            for table in metadata.sorted_tables:
                self._columns[table.name] = ", ".join(column.name for column in table.columns)
                with cursor.copy(f"COPY {table.name} ({self._columns[table.name]}) TO STDOUT") as rows:
                    self._kept[table.name] = b"".join(rows)
            cursor.execute(
                "SELECT format('SELECT setval(%L, %s, %L)', sequencename, coalesce(last_value, start_value),"
                " last_value IS NOT NULL) FROM pg_sequences"
            )
            self._numbers = "; ".join(row[0] for row in cursor)
            cursor.execute(f"ALTER DATABASE \"{engine.url.database}\" SET deadlock_timeout = '100ms'")
            cursor.execute(_COUNTING)
            for name in self._kept:
                cursor.execute(_COUNTED.format(name=name))
        self.rows = self._read(self._kept)

    def restore(self):
        changed = self._changed()
        with self._cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for name in changed:
                cursor.execute(f"DELETE FROM {name}")
                if self._kept[name]:
                    with cursor.copy(f"COPY {name} ({self._columns[name]}) FROM STDIN") as rows:
                        rows.write(self._kept[name])
            cursor.execute(self._numbers)
            if changed:
                cursor.execute("; ".join(f"SELECT setval('pairs_{name}', 1, false)" for name in changed))

    def read(self):
        """Read all rows of all tables, by table; with the names of those that were written to."""
        changed = self._changed()
        return self.rows | self._read(changed), changed

    def is_blocked(self):
        with self._engine.connect() as conn:
            return conn.exec_driver_sql(_WAITING).scalar() > 0

    def _changed(self):
        with self._engine.connect() as conn:
            return [row[0] for row in conn.exec_driver_sql(_TOUCHED)]

    def _read(self, names):
        return read_rows(self._engine, names)

    @contextmanager
    def _cursor(self):
        with closing(self._engine.raw_connection()) as held:
            connection = held.driver_connection
            with connection.transaction(), connection.cursor() as cursor:
                yield cursor


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_COUNTING = """
    CREATE FUNCTION pairs_count() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM nextval('pairs_' || TG_TABLE_NAME); RETURN NULL; END $$
"""
_COUNTED = """
    CREATE SEQUENCE pairs_{name};
    CREATE TRIGGER pairs_count AFTER INSERT OR UPDATE OR DELETE ON {name}
    FOR EACH STATEMENT EXECUTE FUNCTION pairs_count()
"""
_TOUCHED = """
    SELECT substr(sequencename::text, 7) FROM pg_sequences
    WHERE starts_with(sequencename, 'pairs_') AND last_value IS NOT NULL
"""


@contextmanager
def opened_world(database_url, store_url, folder, *, s3=None):
    """Build a registry with one of everything, and open two replicas over it."""
    with running(database_url, store_url, folder, s3=s3) as server:
        box = server.registry.box
        operations = build(server)
    engine = sharing_statements(create_engine(database_url))
    store = open_store(store_url, options=s3)
    is_postgresql = engine.dialect.name == "postgresql"
    world = World(engine, store, Pauses(is_postgresql), operations)
    world._rows = PostgresqlRows(engine) if is_postgresql else SqliteRows(engine, folder)
    world.keep()
    with ExitStack() as stack:
        for actor in "ab":
            own = create_engine(database_url)
            world.pauses.watch(own)  # before it connects
            registry = Registry(
                own, PausingStore(open_store(store_url, options=s3), world.pauses), box=box, networks=LOOPBACK
            )
            world.registries.append(registry)
            app = create_app(registry, store_kind=store_url.partition(":")[0])
            asked = TestClient(naming_actor(app), "http://localhost", raise_server_exceptions=False)
            world.replicas[actor] = stack.enter_context(asked)
            stack.callback(own.dispose)
        yield world
    engine.dispose()
