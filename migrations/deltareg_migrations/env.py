"""Run by alembic: applies revisions to the database."""

import os
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script

from deltareg.db.session import as_writer, create_engine
from deltareg.db.tables import metadata
from deltareg_migrations.steps import forget_step, note_step


def migrate(conn: sa.Connection) -> None:
    """Run the requested revisions, on a connection outside a transaction."""
    is_sqlite = conn.dialect.name == "sqlite"
    context.configure(
        connection=conn,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,  # true of SQLite as well, once BEGIN is ours
        transaction_per_migration=not is_sqlite,
        on_version_apply=note_revision,
    )
    with context.begin_transaction():
        context.run_migrations()
        if is_sqlite:
            check_references(conn)


def note_revision(
    ctx: MigrationContext,
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001  # alembic gives it by name
    run_args: Mapping[str, Any],  # noqa: ARG001
) -> None:
    """Write down, in the transaction of a revision, which servers work with it."""
    script = step.up_revision
    if ctx.connection is None or not isinstance(script, Script):
        return
    if step.is_upgrade:
        note_step(ctx.connection, script.revision, getattr(script.module, "works_from", ""))
    else:
        forget_step(ctx.connection, script.revision)


def check_references(conn: sa.Connection) -> None:
    """Refuse to commit rows with dangling references; foreign keys are off during a migration."""
    broken = conn.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise RuntimeError(f"the migration left {len(broken)} dangling references: {broken[:5]}")


def connect() -> sa.Connection:
    """Connect to the database of the environment, for a developer's `alembic revision`."""
    conn = create_engine(os.environ["DELTAREG_DATABASE_URL"]).connect()
    as_writer(conn)
    return conn


if context.is_offline_mode():
    context.configure(url=os.environ["DELTAREG_DATABASE_URL"], target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    given: sa.Connection | None = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
    else:
        with connect() as opened:
            migrate(opened)
