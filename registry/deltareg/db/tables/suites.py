"""Suites that people pushed, one version for each push, and the files of their probe sets."""

import sqlalchemy as sa

from deltareg.db.sql.document import DocumentColumn
from deltareg.db.tables.metadata import count, created_at, created_by, metadata, required_row, row_id, text

# Append-only: what a verdict was given for stays readable for as long as the verdict.
suites = sa.Table(
    "suites",
    metadata,
    row_id(),
    text("name"),
    count("number"),
    text("digest"),
    sa.Column("document", DocumentColumn(), nullable=False),
    created_at(),
    created_by(),
    sa.UniqueConstraint("name", "number"),
    sa.Index(None, "digest"),
)

suite_files = sa.Table(
    "suite_files",
    metadata,
    row_id(),
    text("digest"),
    count("size_bytes"),
    sa.Column("content", DocumentColumn(is_quick=True), nullable=False),
    created_at(),
    sa.UniqueConstraint("digest"),
)

suite_uses = sa.Table(
    "suite_uses",
    metadata,
    row_id(),
    required_row("suite_id", "suites.id"),
    required_row("file_id", "suite_files.id"),
    sa.UniqueConstraint("suite_id", "file_id"),
)
