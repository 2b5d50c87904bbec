"""Searches over many versions: `python tests/benchmarks/bench_search.py`.

100,000 versions of 5,000 lines in 1,000 namespaces, a tenth of which are private, each version with
a card of 30 words drawn as words of a language are (Zipf), labels and a metric; in SQLite on disk
and in PostgreSQL. Measured is the use case in this process, without HTTP: one page of 50. The last
columns are the processor time of this process, in the middle, and how many versions were found.
"""

import argparse
import base64
import random
import statistics
import sys
import time
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import sqlalchemy as sa  # only now the tests can be imported

from deltareg.db import tables as t
from deltareg.db.lines.deltas import AskedLabel
from deltareg.db.session import create_engine, read, write
from deltareg.digest import sha256_of
from deltareg.service.authority.grants import Grant, NonPrivateNamespaces, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.lines.search import SearchQuery, search_versions
from deltareg.service.registry import Caller, Registry
from deltareg.store.memory import MemoryStore
from tests.benchmarks import page
from tests.benchmarks.bench_ledger import in_sqlite
from tests.benchmarks.bench_rollback import in_postgresql, told
from tests.fixtures.databases import take_statistics
from tests.service import rows

_NAMESPACES, _LINES, _WORDS, _VOCABULARY = 1_000, 5, 30, 20_000
_CHUNK = 20_000
_HEAD = f"{'versions: {:,}':<44}{'of':>5}" + "".join(
    f"{name:>9}" for name in ("p50 ms", "p95 ms", "max ms", "cpu ms", "found")
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=40, help="how often each is done")
    parser.add_argument("--only", choices=["SQLite", "PostgreSQL"], help="one of the databases")
    page.add_option(parser)
    options = parser.parse_args()
    lines = [_HEAD.format(options.versions)]
    print(lines[0])
    databases = {"SQLite": in_sqlite, "PostgreSQL": in_postgresql}
    for name, opened in databases.items():
        if options.only in {None, name}:
            with opened() as (_, url):
                engine = create_engine(url)
                for line in measure(name, engine, options):
                    print(line, flush=True)
                    lines.append(line)
                engine.dispose()
    page.write_docs(options, "search", "\n".join(lines))


def measure(name, engine, options):
    """Fill a database, and tell in a line each how long searches take."""
    began = time.perf_counter()
    fill(engine, options.versions)
    yield f"filled in {time.perf_counter() - began:.0f} s, {name}: {size(engine)} terms"
    registry = Registry(engine, MemoryStore())
    private = frozenset(f"n{number}" for number in range(0, _NAMESPACES, 10))
    all_of_it = Caller("ada", 1, None, frozenset({Grant(Right.READ)}))
    most = Caller("ada", 1, None, frozenset({Grant(Right.READ, NonPrivateNamespaces(private))}))
    one = Caller("ada", 1, None, frozenset({Grant(Right.READ, Namespace("n500"))}))
    middle = cursor_at(options.versions // 2)
    for told_as, caller, asked, cursor in (
        ("a common word", all_of_it, SearchQuery(text="w1"), None),
        ("the same, from the middle on", all_of_it, SearchQuery(text="w1"), middle),
        ("the same, a tenth not to be seen", most, SearchQuery(text="w1"), None),
        ("the same, one namespace to be seen", one, SearchQuery(text="w1"), None),
        ("a rare word", all_of_it, SearchQuery(text=f"w{_VOCABULARY - 1}"), None),
        ("three common words", all_of_it, SearchQuery(text="w1 w2 w3"), None),
        ("a common and a rare word", all_of_it, SearchQuery(text=f"w1 w{_VOCABULARY // 2}"), None),
        ("two common words that never meet", all_of_it, SearchQuery(text="even odd"), None),
        ("a beginning", all_of_it, SearchQuery(text="w12*"), None),
        ("the beginning of nearly all words", all_of_it, SearchQuery(text="w1*"), None),
        ("a label and a word", all_of_it, SearchQuery(text="w5", labels=[AskedLabel("tested", "yes")]), None),
        ("a base and a kind", all_of_it, SearchQuery(base="tiny", kind="lora"), None),
        ("a metric of one in ten", all_of_it, SearchQuery(metrics=["accuracy>=0.9"]), None),
        ("a metric of ten", all_of_it, SearchQuery(metrics=["accuracy>=0.9999"]), None),
        ("a metric and a common word", all_of_it, SearchQuery(text="w1", metrics=["accuracy>0.9"]), None),
        ("all of a line", all_of_it, SearchQuery(within="n7/l3"), None),
        ("the newest of each line", all_of_it, SearchQuery(text="w1", is_newest=True), None),
        ("anything", all_of_it, SearchQuery(), None),
    ):
        seconds, worked, found = [], [], 0
        for _ in range(options.count):
            began, busy = time.perf_counter(), time.process_time()
            page = search_versions(registry, caller, asked, cursor=cursor, limit=50)
            seconds.append(time.perf_counter() - began)
            worked.append(time.process_time() - busy)
            found = len(page.items)
        cpu = f"{1000 * statistics.median(worked):>9.1f}"
        yield told(f"{told_as}, {name}", seconds) + cpu + f"{found:>9}"


def cursor_at(number):
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def fill(engine, count):
    """Make lines and versions, with terms and metrics as a push would have them."""
    base = rows.base(engine)
    ada = rows.caller(engine)
    first = rows.version(engine, rows.line(engine, maker=ada))
    with write(engine) as conn:
        version = dict(conn.execute(sa.select(t.versions).where(t.versions.c.id == first)).mappings().one())
        conn.execute(
            sa.insert(t.namespaces),
            [
                {"id": n + 2, "name": f"n{n}", "visibility": "internal" if n % 10 else "private"}
                for n in range(_NAMESPACES)
            ],
        )
        conn.execute(
            sa.insert(t.deltas),
            [
                {"id": n * _LINES + line + 2, "namespace_id": n + 2, "name": f"l{line}"}
                for n in range(_NAMESPACES)
                for line in range(_LINES)
            ],
        )
    drawn = random.Random(7)
    words = [f"w{number}" for number in range(_VOCABULARY)]
    weights = list(accumulate(1 / (number + 1) for number in range(_VOCABULARY)))
    for start in range(first + 1, first + 1 + count, _CHUNK):
        ids = range(start, min(start + _CHUNK, first + 1 + count))
        made, terms, metrics = [], [], []
        for row_id in ids:
            line = drawn.randrange(_NAMESPACES * _LINES)
            label = "yes" if row_id % 3 else "no"
            made.append(
                {
                    **version,
                    "id": row_id,
                    "number": row_id,
                    "delta_id": line + 2,
                    "manifest_digest": str(sha256_of(str(row_id).encode())),
                    "labels": {"tested": label},
                }
            )
            own = {*drawn.choices(words, cum_weights=weights, k=_WORDS), "odd" if row_id % 2 else "even"}
            place = f"n{line // _LINES}"
            facts = {
                "=kind:lora",
                f"=base:{base}",
                f"=in:{place}",
                f"=in:{place}/l{line % _LINES}",
                "=label:tested",
                f"=label:tested={label}",
            }
            terms += [(term, row_id) for term in own | facts]
            metrics.append(("accuracy", row_id, "smoke", drawn.random()))
        with write(engine) as conn:
            conn.execute(sa.insert(t.versions), made)
            put(conn, "search_terms (term, version_id)", sorted(terms))
            put(conn, "version_metrics (name, version_id, source, value)", metrics)
            conn.execute(sa.insert(t.cards), [{"version_id": n, "document": None} for n in ids])
    take_statistics(engine)


def put(conn, place, values):
    """Insert many rows in the quickest way that each database has."""
    table, columns = place.split(" ", 1)
    if conn.dialect.name == "postgresql":
        with conn.connection.cursor() as cursor, cursor.copy(f"COPY {place} FROM STDIN") as copy:
            for value in values:
                copy.write_row(value)
        return
    marks = ", ".join("?" * len(values[0]))
    conn.exec_driver_sql(f"INSERT INTO {table} {columns} VALUES ({marks})", values)


def size(engine):
    with read(engine) as conn:
        counted = conn.execute(sa.select(sa.func.count()).select_from(t.search_terms)).scalar_one()
    return f"{counted:,}"


if __name__ == "__main__":
    main()
