"""Work for workers and its results: runs, their logs, verdicts, workers."""

import sqlalchemy as sa

from deltareg.db.sql.document import DocumentColumn
from deltareg.db.sql.packed_json import ChecksColumn, PackedObjectColumn
from deltareg.db.tables.metadata import (
    Json,
    count,
    created_at,
    created_by,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
    uuid_id,
)
from deltareg.words import OUTCOMES, RUN_KIND_NAMES, RUN_STATES

runs = sa.Table(
    "runs",
    metadata,
    uuid_id(),
    text("what"),
    text("dedup_key"),
    optional_row("version_id", "versions.id"),
    sa.Column("suite", sa.Text, nullable=False, server_default=""),
    sa.Column("request", Json, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="queued"),
    count("priority", default=0),
    count("attempt", default=0),
    count("max_attempts", default=3),
    sa.Column("labels", Json, nullable=False),
    sa.Column("lease_holder", sa.Text),
    time("lease_expires_at"),
    count("fence", default=0),
    created_at(),
    time("started_at"),
    time("finished_at"),
    created_by(),
    sa.Column("error", sa.Text),
    sa.Column("result", Json),
    optional_row("namespace_id", "namespaces.id"),
    count("turn", default=0),
    optional_row("base_id", "bases.id"),
    count("turn_inside", default=0),
    one_of("what", *RUN_KIND_NAMES),
    one_of("state", *RUN_STATES),
    sa.CheckConstraint("state <> 'running' OR lease_expires_at IS NOT NULL", name="leased"),
    sa.CheckConstraint("what <> 'verify' OR version_id IS NOT NULL", name="verified_version"),
    sa.CheckConstraint("what <> 'prove' OR (version_id IS NULL) <> (base_id IS NULL)", name="proven_subject"),
    sa.Index(None, "version_id"),
    sa.Index(None, "base_id"),
    sa.Index(None, "created_at", "id"),
)
# Written into the SQL, not bound: a partial index is only used where the planner sees the values.
ACTIVE = runs.c.state.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])
sa.Index("uq_runs_active_dedup_key", runs.c.dedup_key, unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE)
# What a claim scans: the best first. Finished runs, which are most, are not in it.
sa.Index(
    "ix_runs_to_claim",
    runs.c.priority.desc(),
    runs.c.turn,
    runs.c.created_at,
    runs.c.id,
    sqlite_where=ACTIVE,
    postgresql_where=ACTIVE,
)
# What gives a new run its turn: the last one of its namespace, and the last one that was served.
sa.Index(
    "ix_runs_lane", runs.c.namespace_id, runs.c.priority, runs.c.turn, sqlite_where=ACTIVE, postgresql_where=ACTIVE
)
_SERVED = runs.c.started_at.is_not(None)
sa.Index("ix_runs_served", runs.c.priority, runs.c.turn, sqlite_where=_SERVED, postgresql_where=_SERVED)
# The same inside a namespace: whose run is next there, the last one of a principal, the last served.
sa.Index(
    "ix_runs_next_inside",
    runs.c.namespace_id,
    runs.c.priority,
    runs.c.turn_inside,
    runs.c.created_at,
    runs.c.id,
    sqlite_where=ACTIVE,
    postgresql_where=ACTIVE,
)
sa.Index(
    "ix_runs_lane_inside",
    runs.c.namespace_id,
    runs.c.created_by,
    runs.c.priority,
    runs.c.turn_inside,
    sqlite_where=ACTIVE,
    postgresql_where=ACTIVE,
)
sa.Index(
    "ix_runs_served_inside",
    runs.c.namespace_id,
    runs.c.priority,
    runs.c.turn_inside,
    sqlite_where=_SERVED,
    postgresql_where=_SERVED,
)
# What each worker holds, and what came to nothing in a namespace.
_RUNNING = runs.c.state == sa.literal_column("'running'")
sa.Index("ix_runs_held", runs.c.lease_holder, sqlite_where=_RUNNING, postgresql_where=_RUNNING)
_DEAD = runs.c.state == sa.literal_column("'dead'")
sa.Index("ix_runs_dead", runs.c.namespace_id, runs.c.finished_at, sqlite_where=_DEAD, postgresql_where=_DEAD)

# The lists of what is rare, newest first: of states, and of kinds. What is common is come upon soon.
RARE_STATES = ("queued", "running", "dead", "cancelled")
IS_OF_RARE_STATE = runs.c.state.in_([sa.literal_column(f"'{name}'") for name in RARE_STATES])
sa.Index(
    "ix_runs_rare_states",
    runs.c.state,
    runs.c.created_at,
    runs.c.id,
    sqlite_where=IS_OF_RARE_STATE,
    postgresql_where=IS_OF_RARE_STATE,
)
RARE_KINDS = tuple(name for name in RUN_KIND_NAMES if name not in {"verify", "prove"})
IS_OF_RARE_KIND = runs.c.what.in_([sa.literal_column(f"'{name}'") for name in RARE_KINDS])
sa.Index(
    "ix_runs_rare_kinds",
    runs.c.what,
    runs.c.created_at,
    runs.c.id,
    sqlite_where=IS_OF_RARE_KIND,
    postgresql_where=IS_OF_RARE_KIND,
)

run_log = sa.Table(
    "run_log",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    count("fence"),
    count("number"),
    count("total_bytes"),
    sa.Column("line", Json, nullable=False),
    created_at(),
    sa.Index(None, "created_at"),
)

# Runs whose log was dropped, as they ended long ago; `created_at` is when.
dropped_logs = sa.Table(
    "dropped_logs", metadata, sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True), created_at()
)

# Verifications that came to nothing as a version or a base that they read is corrupt; taken out by
# whoever queues them again.
waiting_runs = sa.Table(
    "waiting_runs",
    metadata,
    row_id(),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    optional_row("version_id", "versions.id"),
    optional_row("base_id", "bases.id"),
    sa.CheckConstraint("(version_id IS NULL) <> (base_id IS NULL)", name="subject"),
    sa.UniqueConstraint("version_id", "run_id"),
    sa.UniqueConstraint("base_id", "run_id"),
    sa.Index(None, "run_id"),
)

# What a run was asked, and what came of it, where that is more than its row holds: it is not read
# with lists of runs, and goes at its end where it has one, or with the versions that it is about.
run_results = sa.Table(
    "run_results",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    optional_row("other_id", "versions.id"),
    sa.Column("asked", DocumentColumn, nullable=False),
    sa.Column("found", DocumentColumn),
    time("ends_at"),
    sa.Index(None, "ends_at"),
    sa.Index(None, "other_id"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    uuid_id(),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    required_row("version_id", "versions.id"),
    text("manifest_digest"),
    text("base_root"),
    text("suite"),
    text("suite_digest"),
    text("verifier"),
    text("policy_digest"),
    text("dtype"),
    count("seed"),
    text("verdict"),
    text("base_evidence"),
    sa.Column("checks", ChecksColumn(), nullable=False),
    sa.Column("environment", PackedObjectColumn(), nullable=False),
    text("sandbox"),
    created_at(),
    created_by(),
    one_of("verdict", *OUTCOMES),
    sa.UniqueConstraint("run_id"),  # a run has one outcome, whoever reports it
    sa.Index(None, "version_id", "suite", "created_at"),
    # The lists of them, newest first: of a version, of a suite, of all.
    sa.Index(None, "version_id", "created_at", "id"),
    sa.Index(None, "suite", "created_at", "id"),
    sa.Index(None, "created_at", "id"),
)

# The manifest digest of the version that a suite compared with; append-only, as verdicts are bound.
comparisons = sa.Table(
    "comparisons",
    metadata,
    sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True),
    text("digest"),
)

workers = sa.Table(
    "workers",
    metadata,
    row_id(),
    text("name"),
    required_row("principal_id", "principals.id"),
    sa.Column("labels", Json, nullable=False),
    count("last_seen_at"),
    # The words that it knows (`wire.knowledge`), and those that it has shown not to know; the first
    # is NULL for a worker of a release that does not say.
    sa.Column("knows", Json),
    sa.Column("knows_digest", sa.Text),
    sa.Column("unknown", Json),
    sa.UniqueConstraint("name"),
)
