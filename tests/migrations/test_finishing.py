"""A rolling upgrade: what an older server starts on, when rows take the newest form, and what is refused."""

import ast

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from deltareg import db
from deltareg.db import tables as t
from deltareg.db.session import check_schema, create_engine, read, write
from deltareg.db.sql.clock import now_us
from deltareg.db.upkeep.servers import ServerRow, see_server, written_form
from deltareg.errors import Conflict, Misconfigured
from deltareg.service.registry import Registry
from deltareg.service.upkeep.presence import follow_form, follow_form_at_start, say_gone, say_present
from deltareg.store.memory import MemoryStore
from deltareg_migrations import schema as migrations
from deltareg_migrations.command_line import main
from deltareg_migrations.finishing import finish
from deltareg_migrations.steps import note_step
from tests.migrations.populated import populate
from tests.migrations.test_migrations import VERSIONS
from tests.migrations.test_packing import as_before

CHECKS = [{"name": f"check {number}", "verdict": "pass", "detail": "x" * 50} for number in range(20)]


@pytest.fixture
def registry(database_url):
    engine = create_engine(database_url)
    yield Registry(engine, MemoryStore())
    engine.dispose()


def at_revision(engine, revision, works_from):
    """Let a later release have migrated the database."""
    with write(engine) as conn:
        note_step(conn, revision, works_from)
        conn.execute(sa.text(f"UPDATE alembic_version SET version_num = '{revision}'"))


def unfinish(engine):
    with write(engine) as conn:
        conn.execute(sa.delete(t.schema_steps).where(t.schema_steps.c.kind == "form"))


def is_packed(engine):
    """Whether the engine packs the checks that it writes."""
    with read(engine) as conn:
        written = sa.select(sa.literal(CHECKS, t.verdicts.c.checks.type).label("checks")).subquery()
        return "packed" in conn.execute(sa.select(sa.cast(written.c.checks, sa.Text()))).scalar_one()


def test_a_server_starts_on_what_a_later_release_expanded_and_on_nothing_that_it_contracted(registry, database_url):
    at_revision(registry.engine, "0098", "")

    check_schema(registry.engine)
    migrations.upgrade(database_url)
    assert migrations.current(database_url) == "0098"
    at_revision(registry.engine, "0099", "0098")

    with pytest.raises(Misconfigured, match=rf"0099, with which servers from 0098 on work; .* of {db.HEAD}"):
        check_schema(registry.engine)
    with pytest.raises(Misconfigured, match="0099"):
        migrations.upgrade(database_url)


@pytest.mark.soak
def test_a_fresh_database_has_the_newest_form_and_one_with_rows_of_before_does_not(database_url):
    engine = create_engine(database_url)
    with read(engine) as conn:
        fresh = written_form(conn)
    populate(database_url)
    as_before(database_url)
    migrations.downgrade(database_url, revision="0053")
    migrations.upgrade(database_url)

    with read(engine) as conn:
        assert (fresh, written_form(conn)) == (1, 0)
    engine.dispose()


def test_an_upgrade_is_finished_once_no_older_server_is_left(registry, database_url):
    populate(database_url)
    as_before(database_url)
    unfinish(registry.engine)
    with write(registry.engine) as conn:
        see_server(conn, ServerRow("old", "0.1", "0052", 0))

    with pytest.raises(Conflict, match=r"0\.1 \(schema 0052\)"):
        list(finish(database_url))
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.servers).values(last_seen_at=now_us() - 130_000_000))
    done = CliRunner().invoke(main, ["--url", database_url, "finish"])

    assert done.exit_code == 0, done.output
    assert "verdicts: 1 rows" in done.output
    assert [report.rows for report in finish(database_url)] == [0, 0, 0, 0]


def test_until_then_rows_are_written_as_before(registry, database_url):
    unfinish(registry.engine)
    is_sqlite = registry.engine.dialect.name == "sqlite"

    assert not follow_form(registry)
    assert not is_packed(registry.engine)
    assert follow_form_at_start(registry) == is_sqlite, "its file is the server's own"
    list(finish(database_url))
    assert follow_form(registry)
    assert is_packed(registry.engine)


def test_a_server_says_that_it_is_there_and_that_it_is_gone(registry):
    say_present(registry, "one")
    say_present(registry, "two")
    with read(registry.engine) as conn:
        there = conn.execute(sa.select(t.servers.c.id, t.servers.c.schema).order_by(t.servers.c.id)).all()
    say_gone(registry, "two")

    with read(registry.engine) as conn:
        left = list(conn.execute(sa.select(t.servers.c.id)).scalars())
    assert [tuple(row) for row in there] == [("one", db.HEAD), ("two", db.HEAD)]
    assert left == ["one"]


def contracting(source):
    """Name the operations of a revision's way up that a server written for the schema before may not survive."""
    (upgrade,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == "upgrade"]
    for call in [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in {"drop_table", "drop_column", "rename_table"} or "new_column_name" in given:
            yield name
        if name == "alter_column" and given.get("nullable") == "False":
            yield name
        if name == "add_column":
            column = ast.unparse(call.args[-1])
            if "nullable=False" in column and "server_default" not in column:
                yield name


def test_a_revision_that_contracts_says_with_which_servers_it_works():
    revisions = [path for path in VERSIONS.glob("[0-9]*.py") if path.name[:4] > "0054"]

    silent = {
        path.name for path in revisions if [*contracting(path.read_text())] and "works_from" not in path.read_text()
    }

    assert silent == set()
    assert [*contracting("def upgrade():\n    op.drop_column('versions', 'kind')")] == ["drop_column"]
