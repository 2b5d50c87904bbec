"""Rows of a release before are packed by a command, and written out on the way down, bit for bit."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg.errors import Misconfigured
from deltareg_migrations import packing
from deltareg_migrations import schema as migrations
from deltareg_migrations.command_line import main
from deltareg_migrations.packed import ENVELOPES, rewriting
from tests.migrations.populated import populate, rows_of

GOLDEN = json.loads((Path(__file__).parents[1] / "db" / "packed.json").read_text())
TABLES = {*ENVELOPES, "verdicts"}


def as_before(url):
    """Give the rows long envelopes and checks as the release before wrote them."""
    engine = create_engine(url)
    text = sa.literal(json.dumps(GOLDEN["checks"]), sa.Text())
    with write(engine) as conn:
        checks = sa.cast(text, sa.JSON()) if conn.dialect.name == "postgresql" else text
        for table in TABLES:
            with rewriting(conn, table):
                at = sa.table(table, sa.column("body", sa.LargeBinary()), sa.column("checks"))
                raw = {"checks": checks} if table == "verdicts" else {"body": envelope_of(table)}
                conn.execute(sa.update(at).values(raw))
    engine.dispose()


def envelope_of(table):
    return GOLDEN["envelopes"][table]["body"].encode()


def test_rows_are_packed_once_and_read_as_before(database_url):
    populate(database_url)
    as_before(database_url)
    before = rows_of(database_url)

    first = {done.table: done for done in packing.pack(database_url)}
    packed = rows_of(database_url)
    again = [done.rows for done in packing.pack(database_url)]

    assert first.keys() == TABLES
    assert all(done.rows and 2 * done.after < done.before for done in first.values())
    assert again == [0] * len(TABLES)
    assert {name for name in before if packed[name] != before[name]} == TABLES
    engine = create_engine(database_url)
    with read(engine) as conn:
        assert {str(list(checks)) for checks in conn.execute(sa.select(t.verdicts.c.checks)).scalars()} == {
            str(GOLDEN["checks"])
        }
        for table in ENVELOPES:
            bodies = conn.execute(sa.select(t.metadata.tables[table].c.body)).scalars().all()
            assert set(bodies) == {envelope_of(table)}
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), write(engine) as conn:
        conn.execute(sa.update(t.verdicts).values(suite="other"))
    engine.dispose()
    migrations.downgrade(database_url, revision="0050")
    assert {name: rows_of(database_url)[name] for name in TABLES} == {name: before[name] for name in TABLES}


def test_the_command_says_what_it_packed(sqlite_url):
    populate(sqlite_url)
    as_before(sqlite_url)

    result = CliRunner().invoke(main, ["--url", sqlite_url, "pack"])

    assert result.exit_code == 0, result.output
    assert "verdicts: " in result.output


def test_another_schema_is_not_packed(sqlite_url):
    migrations.downgrade(sqlite_url, revision="0050")

    with pytest.raises(Misconfigured, match="not the newest"):
        next(packing.pack(sqlite_url))


def test_the_release_before_signs_nothing_that_rests_on_a_packed_envelope(database_url):
    populate(database_url)
    as_before(database_url)
    list(packing.pack(database_url))
    engine = create_engine(database_url)
    with read(engine) as conn:
        verdict_id = conn.execute(sa.select(t.verdict_envelopes.c.verdict_id)).scalar_one()
        revision = dict(conn.execute(sa.select(t.revisions).where(t.revisions.c.id == 1)).mappings().one())
    with write(engine) as conn, rewriting(conn, "revisions"):
        new = {**revision, "id": 99, "number": 99, "verdict_ids": [verdict_id]}
        conn.execute(sa.insert(t.revisions).values(new))

    def sign(body):
        raw = sa.table("summaries", sa.column("revision_id"), sa.column("keyid"), sa.column("body", sa.LargeBinary()))
        with write(engine) as conn:
            conn.execute(sa.insert(raw).values(revision_id=99, keyid="s", body=body))

    with pytest.raises(sa.exc.IntegrityError, match="the release before does not sign"):
        sign(envelope_of("summaries"))
    with write(engine) as conn:
        conn.execute(sa.insert(t.summaries).values(revision_id=99, keyid="s", body=envelope_of("summaries")))
    engine.dispose()
