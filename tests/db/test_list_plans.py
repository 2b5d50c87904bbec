"""Lists find their rows by an index that has them in order: no plan reads a table that grows with versions."""

import re

import pytest
import sqlalchemy as sa

from deltareg.db.bases.variants import verdicts_on
from deltareg.db.channels.channel_standing import standing
from deltareg.db.lines.deltas import LineFilter, line_rows
from deltareg.db.lines.family import FamilyOrigin, family
from deltareg.db.lines.log import event_rows
from deltareg.db.lines.numbers import count_live, live_numbers, newest_numbers
from deltareg.db.lines.recorded import NameInTrail, names_in_trail, rows_of
from deltareg.db.lines.resolve import on_channel
from deltareg.db.lines.versions import find_version
from deltareg.db.overview.overview import channels_at_a_glance, channels_of_line, weights
from deltareg.db.quotas.recount import live_pack_bytes
from deltareg.db.runs.queue import queue_depth, worker_rows
from deltareg.db.runs.runs import run_rows
from deltareg.db.session import read
from deltareg.db.sql.among import write_ids
from deltareg.db.storage.settling import oldest_others, sought_shares
from deltareg.db.trail.audit import AuditFilter, audit_rows
from deltareg.db.upkeep import health, stats
from deltareg.db.verdicts.verdicts import newest_verdicts
from tests.benchmarks.statement_counts import StatementCounter

GROWING = {
    "versions",
    "verdicts",
    "line_verdicts",
    "audit",
    "revisions",
    "runs",
    "version_packs",
    "version_shares",
    "tokens",
}
LINE = LineFilter(kind="lora", verdict="pass", suite_digest="d")


def audited(**wanted):
    return lambda conn: audit_rows(conn, AuditFilter(**wanted), before=None, limit=50)


# Each with the indexes that it cannot do without.
ASKED = {
    "resolve by channel": (lambda c: on_channel(c, "h", ("a", "b"), "prod", ("smoke", "d")), ()),
    "the newest version": (lambda c: find_version(c, 1), ("ix_versions_live_line",)),
    "numbers": (
        lambda c: [live_numbers(c, 1, 1, 9), newest_numbers(c, 1, limit=5), count_live(c, 1, beside=[3])],
        ("ix_versions_live_line",),
    ),
    "channels": (lambda c: standing(c, 1), ()),
    "log": (
        lambda c: event_rows(c, 1, channel=None, mark=(9, "x"), limit=50),
        ("ix_versions_delta_id_created_at", "ix_revisions_channel_id_created_at", "line_verdicts"),
    ),
    "log of the trail": (
        lambda c: [
            list(names_in_trail(c, "a/b", since=1, line_action="line.rename", namespace_action="namespace.rename")),
            rows_of(c, NameInTrail("a/b", 5, 90), ("version.label",), until=9, floor=3, limit=50),
        ],
        ("ix_audit_line", "ix_audit_subject_id", "ix_audit_created_at"),
    ),
    "lines by verdict": (lambda c: line_rows(c, only=LINE, after=None, limit=50), ("ix_versions_live_line",)),
    "verdicts of some versions": (
        lambda c: verdicts_on(c, [1, 2], suite="smoke", suite_digest="d"),
        ("ix_verdicts_version_id",),
    ),
    "newest verdicts": (lambda c: newest_verdicts(c, [1, 2]), ("ix_verdicts_version_id",)),
    "relatives": (lambda c: family(c, FamilyOrigin(version_id=1), up=5, down=5, sight=None, limit=50), ()),
    "home": (lambda c: channels_at_a_glance(c, suite="smoke", sight=None, limit=60), ()),
    "channels of a line": (lambda c: channels_of_line(c, 1, suite="smoke"), ("ix_revisions_broken",)),
    "weights": (lambda c: weights(c, None), ()),
    "storage of everything": (
        lambda c: [
            stats.line_rows(c, stats.StatsScope(), by_line=False),
            stats.base_rows(c, stats.StatsScope()),
            live_pack_bytes(c),
        ],
        (),
    ),
    "storage of a line": (
        lambda c: [
            stats.line_rows(c, stats.StatsScope("ns:a", 1), by_line=True),
            stats.largest_versions(c, 1, limit=50),
            stats.version_row(c, 1),
        ],
        ("ix_versions_largest",),
    ),
    "settling": (lambda c: [sought_shares(c, {1, 2}), oldest_others(c, {1, 2})], ("ix_version_shares_owner",)),
    "queued runs": (lambda c: run_rows(c, state="queued"), ("ix_runs_rare_states",)),
    "dead runs": (lambda c: run_rows(c, state="dead"), ("ix_runs_rare_states",)),
    "runs that compare": (lambda c: run_rows(c, what="compare"), ("ix_runs_rare_kinds",)),
    "what metrics ask of runs": (
        lambda c: [queue_depth(c), health.dead_within(c, 1), worker_rows(c, seen_within_us=1)],
        ("ix_runs_",),
    ),
    "what metrics ask of verdicts": (lambda c: health.verdicts_within(c, 1), ("ix_verdicts_created_at",)),
    "what metrics ask of the trail": (
        lambda c: [health.newest_action_us(c, "collect.run"), health.oldest_unsealed_us(c)],
        ("ix_audit_action_id",),
    ),
    "what metrics ask beside": (lambda c: [health.count_stored(c), health.pending_deliveries(c)], ()),
    "audit of a line": (audited(subject="a/b"), ("ix_audit_line",)),
    "audit of a version": (audited(subject="a/b:v1"), ("ix_audit_subject_id",)),
    "audit of an action": (audited(action="token.revoke"), ("ix_audit_action_id",)),
    "audit of a kind of thing": (audited(action="token"), ("ix_audit_action_id",)),
}


def test_a_list_walks_no_table_that_grows(engine, begun):
    plans = {name: planned(engine, ask) for name, (ask, _) in ASKED.items()}

    walked = {name: {table for table in GROWING if is_walked(plan, table)} for name, plan in plans.items()}
    without = {name: [each for each in ASKED[name][1] if each not in plan] for name, plan in plans.items()}
    walked["home"] -= {"revisions"} if engine.dialect.name == "sqlite" else set()  # from its end, for a page
    assert {name: tables for name, tables in walked.items() if tables} == {}
    assert {name: indexes for name, indexes in without.items() if indexes} == {}


@pytest.fixture
def begun(engine):
    """Have a channel: the log asks of each by itself."""
    with engine.connect() as conn, conn.begin():
        conn.exec_driver_sql("INSERT INTO namespaces (id, name, created_at) VALUES (1, 'a', 1)")
        conn.exec_driver_sql("INSERT INTO deltas (id, namespace_id, name, created_at) VALUES (1, 1, 'b', 1)")
        conn.exec_driver_sql(
            "INSERT INTO channels (id, delta_id, name, policy, created_at) VALUES (1, 1, 'prod', '{}', 1)"
        )
        conn.exec_driver_sql(
            "INSERT INTO audit (created_at, actor, action, subject, request_id) VALUES (1, 'a', 'token.x', 'a', 'r')"
        )


def planned(engine, ask):
    """Say how the database would answer if reading a whole table cost more."""
    counter = StatementCounter(engine)
    with counter.counting() as counts, read(engine) as conn:
        ask(conn)
    steps = []
    with engine.connect() as conn:
        if engine.dialect.name == "sqlite":
            for text, _ in list(counts.statements):
                steps += [row[3] for row in conn.connection.execute(f"EXPLAIN QUERY PLAN {text}")]
            return "\n".join(steps)
        for way in ("seqscan", "sort", "bitmapscan", "hashjoin", "mergejoin"):
            conn.exec_driver_sql(f"SET enable_{way} = off")
        for text, params in list(counts.statements):
            with conn.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {text}", params)
                steps += [row[0] for row in cursor.fetchall()]
        conn.exec_driver_sql("RESET ALL")
    return "\n".join(steps)


def is_walked(plan, table):
    """Whether a plan reads all of a table, by whatever name; in the order of an index is another thing."""
    return bool(re.search(rf"Seq Scan on {table}\b|SCAN {table}(?! USING)(?! LEFT)\b(?! USING)", plan))


def test_ids_of_a_parameter_are_found_one_by_one(postgresql_engine):
    """As an array: of a subquery PostgreSQL plans for all there are."""
    with postgresql_engine.connect() as conn:
        seen = conn.execute(
            sa.text(
                "SELECT 3 = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(:ids AS JSON))))"
            ),
            {"ids": write_ids([1, 3])},
        )
        assert seen.scalar() is True
