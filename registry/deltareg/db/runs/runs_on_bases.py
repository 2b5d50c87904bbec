"""Runs that wait for a base and are queued or retried when its bytes are stored."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.runs.rows import ReencodeRow, VerifyRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import base_variants, bases, runs, versions
from deltareg.db.tables.runs import ACTIVE


def reencodes_on_base(conn: sa.Connection, base_id: int) -> Sequence[ReencodeRow]:
    """List version, state and request of all re-encode runs for versions of a base."""
    query = (
        sa.select(runs.c.version_id, runs.c.state, runs.c.request)
        .join(versions, versions.c.id == runs.c.version_id)
        .where(runs.c.what == "reencode", versions.c.base_id == base_id, versions.c.deleted_at.is_(None))
        .order_by(runs.c.version_id)
    )
    return fetch_all(conn, query, ReencodeRow)


def active_of_base(conn: sa.Connection, base_id: int) -> list[str]:
    """List the active runs about a base itself."""
    query = sa.select(runs.c.id).where(ACTIVE, runs.c.base_id == base_id).order_by(runs.c.id)
    return list(conn.execute(query).scalars())


def verifies_on_base(conn: sa.Connection, base_id: int) -> Sequence[VerifyRow]:
    """List id, version, suite and state of verifications that have not produced a verdict.

    They belong to versions of the base, and wait, run, or died.
    """
    return fetch_all(conn, _verifies().where(versions.c.base_id == base_id), VerifyRow)


def verifies_on_variant(conn: sa.Connection, base_id: int) -> Sequence[VerifyRow]:
    """List the same as `verifies_on_base` for verifications on a base that is a variant."""
    query = (
        _verifies()
        .join(base_variants, base_variants.c.root_id == versions.c.base_id)
        .join(bases, bases.c.id == base_variants.c.base_id)
        .where(bases.c.id == base_id, runs.c.request["base_root"].as_string() == bases.c.root)
    )
    return fetch_all(conn, query, VerifyRow)


def _verifies() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(runs.c.id, runs.c.version_id, runs.c.suite, runs.c.state, runs.c.request)
        .join(versions, versions.c.id == runs.c.version_id)
        .where(
            runs.c.what == "verify",
            runs.c.state.in_(["queued", "running", "dead"]),
            runs.c.result["why"].as_string().is_(None),  # it ran out of time, and not for want of a base
            versions.c.deleted_at.is_(None),
        )
        .order_by(runs.c.created_at, runs.c.id)
    )
