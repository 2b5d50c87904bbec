"""Quotas: the limits, what counts against them, and what holders were warned of.

A holder is a scope (`ns:team`, `bases`) or a principal (`by:12`). In `quotas` a bare `ns:` or `by:`
stands for each that has no limit of its own. Triggers keep `quota_usage` (record 105).
"""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, created_at, metadata

quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("most", sa.BigInteger),  # NULL: no limit, although there is one for all
)

quota_usage = sa.Table(
    "quota_usage",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    *(count(name, default=0) for name in ("bytes", "versions", "lines", "drafts", "uploads")),
    sa.Column("month", sa.Text, nullable=False, server_default=""),  # YYYY-MM, that `run_us` is of
    count("run_us", default=0),
)

quota_warnings = sa.Table(
    "quota_warnings",
    metadata,
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("resource", sa.Text, primary_key=True),
    created_at(),
)
