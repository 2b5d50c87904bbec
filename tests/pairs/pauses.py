"""Pauses: the moments of an operation in which another replica may act."""

import contextvars
import re
import threading
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from deltareg.db.session import BEGIN_OPTION
from deltareg.db.sql.timed_cursors import TimedSqliteConnection, TimedSqliteCursor
from deltareg.db.tables import metadata

ACTOR = contextvars.ContextVar("actor", default="")
HEADER = "x-pairs-actor"
_WAIT_S = 30.0
_WRITES = re.compile(
    r"^\s*(?:WITH\b.*?\)\s*)?(INSERT INTO|UPDATE|DELETE FROM)\s+\"?([a-z_]+)", re.IGNORECASE | re.DOTALL
)
_WORDS = re.compile(r"[a-z_]+")
_TABLES = frozenset(metadata.tables)
# What triggers keep: whoever writes the first writes the others too.
_COUNTED = {"packs": "quota_usage", "versions": "quota_usage", "deltas": "quota_usage", "uploads": "quota_usage"}
# Rows that are only added, and that no rule of another operation reads.
APPENDED = frozenset({"audit", "audit_places", "outbox", "unsealed", "idempotency"})


@dataclass(frozen=True)
class Step:
    """What an operation does between two pauses: the tables that it reads and writes, and the store."""

    name: str
    reads: frozenset = frozenset()
    writes: frozenset = frozenset()

    def meets(self, others):
        """Whether the order of this step and of another operation's can matter."""
        return any(self.writes & (other.reads | other.writes) or self.reads & other.writes for other in others)


@dataclass
class Pauses:
    """The pauses of operations: counted in a rehearsal, held at one of them in a schedule.

    Attributes:
        between_statements: Whether an open transaction leaves others free to write, as on PostgreSQL.
        at: The pause at which actor `a` is held; None to hold it nowhere.
        steps: What each actor did, from pause to pause.
    """

    between_statements: bool
    at: int | None = None
    steps: dict[str, list[Step]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    writing: set = field(default_factory=set)
    reached: threading.Event = field(default_factory=threading.Event)
    resumed: threading.Event = field(default_factory=threading.Event)

    def begin(self, at):
        """Prepare the next schedule."""
        self.at = at
        self.steps, self.errors = {"a": [], "b": []}, []
        self.reached, self.resumed = threading.Event(), threading.Event()

    def pause(self, name):
        """Note a pause of whoever acts, and hold actor `a` where it is to be held."""
        actor = ACTOR.get()
        if not actor or any(holder == actor for holder, _ in self.writing):
            return  # on SQLite nobody else writes while one does
        steps = self.steps[actor]
        steps.append(Step(name))
        if actor == "a" and len(steps) - 1 == self.at:
            self.reached.set()
            if not self.resumed.wait(_WAIT_S):
                raise RuntimeError("the other replica did not end")

    def touch(self, reads=(), writes=()):
        """Note what whoever acts does since their last pause."""
        actor = ACTOR.get()
        if not actor:
            return
        steps = self.steps[actor]
        if not steps:
            steps.append(Step("start"))
        last = steps[-1]
        steps[-1] = Step(last.name, last.reads | frozenset(reads), last.writes | frozenset(writes))

    def watch(self, engine):
        """Pause around the transactions of an engine, and between their statements."""
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "begin", self._before_transaction, insert=True)
        sa.event.listen(engine, "checkin", self._after_transaction)
        sa.event.listen(engine, "commit", lambda _: self._before_commit(), insert=True)
        sa.event.listen(engine, "handle_error", self._note_error)

    def _connect(self, _dialect, _record, _args, options):
        """Let the cursors of a connection note statements; prepared ones reach no event of SQLAlchemy's."""
        if "factory" in options:
            options["factory"] = partial(_SqliteConnection, pauses=self)
        else:
            options["cursor_factory"] = type("Cursor", (_Noting, options["cursor_factory"]), {"pauses": self})

    def _before_transaction(self, conn):
        if self.between_statements or not conn.get_execution_options().get(BEGIN_OPTION):
            self.pause("before the transaction")  # what SQLite begins writing with comes as a statement

    def before_writing(self, connection):
        """Pause before a connection of SQLite takes the only right to write."""
        self.pause("before the transaction")
        self.writing.add((ACTOR.get(), id(connection)))

    def _after_transaction(self, connection, _record):
        self.writing.discard((ACTOR.get(), id(connection)))
        self.pause("after the transaction")

    def _before_commit(self):
        if self.between_statements:
            self.pause("before the commit")

    def before_statement(self, statement, *, is_alone):
        """Note a statement; `is_alone` where it is a transaction of its own."""
        reads, writes = tables_of(statement)
        if reads or writes:
            if self.between_statements or is_alone:
                named = " ".join(sorted(writes or reads))
                self.pause(f"before {statement.split(None, 1)[0].lower()} {named[:60]}")
            self.touch(reads, writes)

    def _note_error(self, context):
        found = getattr(context.original_exception, "sqlstate", None) or str(context.original_exception)
        self.errors.append(found)


class _Noting:
    """A cursor that notes its statements."""

    def execute(self, query, *args, **options):
        self.pauses.before_statement(str(query), is_alone=False)
        return super().execute(query, *args, **options)

    def executemany(self, query, *args, **options):
        self.pauses.before_statement(str(query), is_alone=False)
        return super().executemany(query, *args, **options)


class _SqliteCursor(TimedSqliteCursor):
    def execute(self, sql, parameters=(), /):
        if sql == "BEGIN IMMEDIATE":
            self.connection.pauses.before_writing(self.connection)
        self.connection.pauses.before_statement(sql, is_alone=not self.connection.in_transaction)
        return super().execute(sql, parameters)

    def executemany(self, sql, parameters, /):
        self.connection.pauses.before_statement(sql, is_alone=not self.connection.in_transaction)
        return super().executemany(sql, parameters)


class _SqliteConnection(TimedSqliteConnection):
    def __init__(self, *args, pauses, **options):
        super().__init__(*args, **options)
        self.pauses = pauses

    def cursor(self, factory=_SqliteCursor):
        return super().cursor(_SqliteCursor)


class PausingStore:
    """A store whose calls are pauses too, unless the caller holds the only right to write."""

    def __init__(self, store, pauses):
        self._store, self._pauses = store, pauses

    def __getattr__(self, name):
        return getattr(self._store, name)

    def write(self, key, body):
        return self._around("write", key, lambda: self._store.write(key, body))

    def read(self, key, start=0, stop=None):
        return self._around("read", key, lambda: self._store.read(key, start, stop))

    def delete(self, key):
        return self._around("delete", key, lambda: self._store.delete(key))

    def size(self, key):
        return self._around("size", key, lambda: self._store.size(key))

    def _around(self, name, key, call):
        self._pauses.pause(f"before store {name}")
        touched = {"the store"}
        self._pauses.touch(*((touched, ()) if name in {"read", "size"} else ((), touched)))
        done = call()
        self._pauses.pause(f"after store {name}")
        return done


def naming_actor(app):
    """Wrap an app so that all that a request leads to is its actor's, by a header."""

    async def wrapped(scope, receive, send):
        headers = dict(scope.get("headers") or ())
        token = ACTOR.set(headers.get(HEADER.encode(), b"").decode())
        try:
            await app(scope, receive, send)
        finally:
            ACTOR.reset(token)

    return wrapped


def tables_of(statement):
    """Return the tables that a statement reads, and those that it writes, with what triggers write."""
    named = frozenset(_WORDS.findall(statement)) & _TABLES
    match = _WRITES.match(statement)
    if match is None:
        locks = "FOR UPDATE" in statement or "FOR NO KEY UPDATE" in statement
        return (frozenset(), named) if locks else (named, frozenset())
    written = match.group(2)
    if written in APPENDED and match.group(1).upper() == "INSERT INTO":
        return named - {written}, frozenset()
    counted = _COUNTED.get(written)
    return named - {written}, frozenset({written, counted} if counted else {written})
