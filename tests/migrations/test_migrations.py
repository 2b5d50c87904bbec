"""The schema on both databases: one line of revisions, no drift, nothing lost on the way."""

import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from deltareg import db
from deltareg.db import tables as t
from deltareg.db.session import check_schema, create_engine, read, write
from deltareg.db.sql.document import pack_map
from deltareg.db.tables import metadata
from deltareg.errors import InvalidInput, Misconfigured
from deltareg_migrations import schema as migrations
from tests.fixtures.databases import BOTH, database
from tests.migrations.populated import ROWS, populate, rows_in, rows_of

VERSIONS = Path(migrations.__file__).parent / "versions"
REVISIONS = sorted(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))
# Whole ways from a few; each step is walked below, and all whole ways are `soak`.
WHOLE_WAYS = [name if name in {"0001", "0013"} else pytest.param(name, marks=pytest.mark.soak) for name in REVISIONS]
APPEND_ONLY = [
    "accepted_warnings",
    "account_owners",
    "approvals",
    "audit",
    "base_figures",
    "base_probes",
    "complete_verdicts",
    "disputes",
    "evaluations",
    "floors",
    "freezes",
    "log_checkpoints",
    "log_leaves",
    "log_nodes",
    "log_origins",
    "log_statements",
    "referrers",
    "reviews",
    "revisions",
    "revoked_signers",
    "summaries",
    "terms",
    "token_origins",
    "verdict_envelopes",
    "verdicts",
    "waiver_channels",
    "withdrawn_evaluations",
]
# SQLAlchemy reads no index over an expression back from SQLite, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
WORDS = re.compile(r"(IN \(|ARRAY\[)('[^)\]]*)([)\]])")
# What 0022 makes of tokens and namespaces that were there, on every way up, 0025 and 0044 of the trail,
# 0045 of who stood behind whom, 0049 of all that is counted, 0052 of lines, and each since 0054 of itself.
MADE = {
    "account_owners",
    "audit_places",
    "grants",
    "line_counts",
    "line_storage",
    "line_verdicts",
    "quota_usage",
    "released_packs",
    "schema_steps",
    "stand_ins",
    "storage_changes",
    "unsealed",
    "visibility_epochs",
}


@pytest.fixture(scope="module", params=BOTH)
def populated_url(request):
    """Return the URL of a database of the module with rows that nobody may change."""
    return request.getfixturevalue(f"populated_{request.param}_url")


@pytest.fixture(scope="module")
def populated_sqlite_url(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("populated") / "registry.db"
    shutil.copyfile(sqlite_template, path)
    populate(f"sqlite:///{path}")
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def populated_postgresql_url(postgresql_server, postgresql_template):
    with database(postgresql_server, template=postgresql_template) as url:
        populate(url)
        yield url


def test_there_is_one_line_of_revisions_and_the_code_is_written_for_its_head():
    scripts = ScriptDirectory.from_config(migrations.config_of(None))

    walked = [script.revision for script in scripts.walk_revisions()]

    assert walked == REVISIONS[::-1]
    assert scripts.get_heads() == [db.HEAD]
    assert migrations.newest_revision() == db.HEAD


def test_a_migrated_database_has_not_drifted(database_url):
    assert migrations.check(database_url) == []


def test_a_migrated_database_is_the_one_that_the_tables_describe(empty_database_url, tmp_path):
    migrations.upgrade(empty_database_url)
    migrated = described(empty_database_url)
    migrations.downgrade(empty_database_url, revision="base")
    engine = create_engine(empty_database_url)

    metadata.create_all(engine)

    engine.dispose()
    assert described(empty_database_url) == migrated


def test_an_upgrade_may_be_repeated(database_url):
    migrations.upgrade(database_url)

    assert migrations.current(database_url) == db.HEAD


def test_an_empty_database_is_at_no_revision(empty_database_url):
    assert migrations.current(empty_database_url) is None
    assert migrations.check(empty_database_url) == [f"the schema is absent, the newest is {db.HEAD}"]


def test_a_server_refuses_a_database_of_another_revision(empty_database_url):
    migrations.upgrade(empty_database_url, revision="0002")
    engine = create_engine(empty_database_url)

    with pytest.raises(Misconfigured, match=f"has schema 0002, this server needs {db.HEAD}"):
        check_schema(engine)

    migrations.upgrade(empty_database_url)
    check_schema(engine)
    engine.dispose()


def test_an_unknown_revision_is_refused(database_url):
    with pytest.raises(InvalidInput, match="0815"):
        migrations.upgrade(database_url, revision="0815")


def test_every_revision_goes_up_and_down_to_nothing(empty_database_url):
    """Here without rows; with rows, each step is walked down, up and down again below."""
    for revision in REVISIONS:
        migrations.upgrade(empty_database_url, revision=revision)
    migrations.downgrade(empty_database_url, revision="base")
    migrations.upgrade(empty_database_url, revision=REVISIONS[0])
    migrations.downgrade(empty_database_url, revision="-1")

    assert tables_of(empty_database_url) <= {"alembic_version"}


def test_each_step_down_and_up_keeps_the_rows_that_both_its_ends_know(database_url):
    """One walk from the newest revision to the first: down a step, up again, down for good.

    A revision is after it what it was before, but for rows that only it knows; so what holds for
    each step holds for every way of several.
    """
    populate(database_url)
    full = rows_of(database_url)
    assert all(full.values()), "every table has a row to lose"

    for upper, lower in pairwise(REVISIONS[::-1]):
        before = described(database_url)
        migrations.downgrade(database_url, revision=lower)
        kept = rows_of(database_url)
        assert kept, lower
        assert kept == within(full, kept), f"lost on the way down to {lower}"
        migrations.upgrade(database_url, revision=upper)
        again = rows_of(database_url)
        assert kept == within(again, kept), f"lost on the way up to {upper}"
        assert not any(rows for table, rows in again.items() if table not in {*kept, *MADE}), upper
        assert described(database_url) == before, f"another schema after going down to {lower}"
        migrations.downgrade(database_url, revision=lower)
        assert kept == rows_of(database_url), f"lost on the second way down to {lower}"


@pytest.mark.parametrize("lowest", WHOLE_WAYS)
def test_rows_that_an_older_revision_knows_survive_the_way_down_and_up(database_url, lowest):
    populate(database_url)
    full = rows_of(database_url)

    migrations.downgrade(database_url, revision=lowest)
    kept = rows_of(database_url)
    migrations.upgrade(database_url)
    again = rows_of(database_url)

    assert kept
    assert all(full.values()), "every table has a row to lose"
    assert kept == within(full, kept)
    assert kept == within(again, kept)
    assert not any(rows for table, rows in again.items() if table not in {*kept, *MADE})
    assert migrations.check(database_url) == []


def test_runs_of_kinds_that_a_release_does_not_know_go_on_the_way_down(database_url):
    populate(database_url)
    engine = create_engine(database_url)
    with write(engine) as conn:
        new = {**dict(ROWS)[t.runs], "id": "new", "what": "answer", "dedup_key": "new"}
        conn.execute(sa.insert(t.runs).values(new))
        conn.execute(sa.insert(t.run_log).values({**dict(ROWS)[t.run_log], "run_id": "new"}))
        conn.execute(sa.insert(t.run_results).values(run_id="new", asked=b"{}"))
    engine.dispose()
    before = rows_of(database_url)

    migrations.downgrade(database_url, revision="0035")
    kept = rows_of(database_url)

    assert [row["id"] for row in kept["runs"]] == ["r"]
    assert kept["run_log"] == [row for row in before["run_log"] if row["run_id"] == "r"]
    migrations.upgrade(database_url)
    assert migrations.check(database_url) == []


def test_the_release_before_finds_documents_written_out(empty_database_url):
    migrations.upgrade(empty_database_url)
    populate(empty_database_url)
    document, other = (f'{{"{name}":"{name * 500}"}}'.encode() for name in "ab")
    engine = create_engine(empty_database_url)
    with write(engine) as conn:
        packed = {"manifest": document, "storage_map": pack_map(other, document)}
        conn.execute(sa.update(t.versions).values(packed))
        conn.execute(sa.update(t.bases).values(packed))
        conn.execute(sa.update(t.pieces).values(entry=other))
        conn.execute(sa.update(t.uploads).values(manifest=None))
        opened = {**dict(ROWS)[t.uploads], "id": "open", "state": "open", "manifest": document}
        conn.execute(sa.insert(t.uploads).values(opened))
    engine.dispose()

    migrations.downgrade(empty_database_url, revision="0007")

    kept = documents(empty_database_url)
    assert kept["versions", "manifest"] == kept["bases", "manifest"] == {document}
    assert kept["versions", "storage_map"] == kept["bases", "storage_map"] == {other}
    assert kept["pieces", "entry"] == {other}
    assert kept["uploads", "manifest"] == {b"{}", document}
    migrations.upgrade(empty_database_url)
    again = documents(empty_database_url)
    assert {place: found for place, found in again.items() if found} == kept


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("change", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}"])
def test_an_append_only_table_refuses_changes(populated_url, table, change):
    column = next(iter(metadata.tables[table].primary_key)).name
    check_refused(populated_url, table, change.format(table, column))


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_row_of_an_append_only_table_cannot_be_replaced(populated_sqlite_url, table):
    check_refused(populated_sqlite_url, table, f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


@pytest.mark.postgres
@pytest.mark.parametrize("table", APPEND_ONLY)
def test_an_append_only_table_cannot_be_truncated(populated_postgresql_url, table):
    check_refused(populated_postgresql_url, table, f"TRUNCATE {table} CASCADE")


def check_refused(url, table, change):
    engine = create_engine(url)
    with read(engine) as conn:
        before = rows_in(conn, table)

    with pytest.raises(sa.exc.IntegrityError, match="append-only"), write(engine) as conn:
        conn.exec_driver_sql(change)

    with read(engine) as conn:
        assert rows_in(conn, table) == before != []
    engine.dispose()


def within(rows, known):
    """Cut rows down to the tables and columns that an older revision knows."""
    return {table: [{name: row[name] for name in (known[table] or [row])[0]} for row in rows[table]] for table in known}


def tables_of(url):
    engine = create_engine(url)
    names = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return names


def documents(url):
    """Return all documents as their rows have them."""
    engine = create_engine(url)
    reflected = sa.MetaData()
    reflected.reflect(engine)
    with read(engine) as conn:
        found = {
            (table.name, name): set(conn.execute(sa.select(table.c[name])).scalars())
            for table in reflected.tables.values()
            for name in ("manifest", "storage_map", "entry")
            if name in table.c
        }
    engine.dispose()
    return found


def described(url):
    """Return every table, constraint and index as the database itself writes it down."""
    query = {
        "sqlite": "SELECT type, name, sql FROM sqlite_master"
        " WHERE type IN ('index', 'table') AND name <> 'alembic_version'",
        "postgresql": """
            SELECT conrelid::regclass::text AS place, conname::text, pg_get_constraintdef(oid)
              FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes
              WHERE schemaname = 'public'
            UNION ALL SELECT table_name, column_name,
                concat_ws(' ', data_type, is_nullable, column_default)
              FROM information_schema.columns WHERE table_schema = 'public'""",
    }
    engine = create_engine(url)
    with engine.connect() as conn:
        rows = conn.exec_driver_sql(query[engine.dialect.name]).all()
    engine.dispose()
    return sorted(
        (place, name, ordered(definition)) for place, name, definition in rows if "alembic_version" not in place
    )


def sorted_words(found):
    """Write the words of a check in the order of the alphabet."""
    return f"{found[1]}{', '.join(sorted(found[2].split(', ')))}{found[3]}"


def ordered(definition):
    """Drop what has no meaning: the order of constraints, and of words in one, and quotes.

    SQLite writes a column that was added into the line of the last one.
    """
    plain = WORDS.sub(sorted_words, (definition or "").replace('"', ""))
    lines = (line.strip().rstrip(",") for line in plain.splitlines())
    parts = (part for line in lines for part in ([line] if "(" in line else line.split(", ")))
    return sorted(part for part in parts if part)
