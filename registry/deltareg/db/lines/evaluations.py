"""Evaluations of versions that nobody signed: kept as they came, listed, withdrawn."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.lines.evaluation_rows import EvaluationRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import evaluations, principals, withdrawn_evaluations


def add_evaluation(
    conn: sa.Connection, version_id: int, *, digest: str, body: bytes, created_by: int | None
) -> EvaluationRow:
    """Store an evaluation of a version and return its row.

    Args:
        conn: The transaction.
        version_id: The version.
        digest: The sha256 of the body.
        body: The bytes, as they came.
        created_by: Who brought it.
    """
    values = {"version_id": version_id, "digest": digest, "body": body, "created_by": created_by}
    conn.execute(sa.insert(evaluations).values(**values, created_at=now_us()))
    return evaluation_rows(conn, version_id)[-1]


def evaluation_rows(conn: sa.Connection, version_id: int) -> Sequence[EvaluationRow]:
    """List the evaluations of a version, oldest first, withdrawn ones too."""
    query = (
        sa.select(
            *(column for column in evaluations.c if column.name != "body"),
            sa.func.length(evaluations.c.body).label("size_bytes"),
            principals.c.name.label("sender"),
            withdrawn_evaluations.c.reason.label("withdrawn"),
        )
        .select_from(evaluations)
        .outerjoin(principals, principals.c.id == evaluations.c.created_by)
        .outerjoin(withdrawn_evaluations, withdrawn_evaluations.c.evaluation_id == evaluations.c.id)
        .where(evaluations.c.version_id == version_id)
        .order_by(evaluations.c.id)
    )
    return fetch_all(conn, query, EvaluationRow)


def evaluation_body(conn: sa.Connection, evaluation_id: int) -> bytes:
    """Return an evaluation as it came."""
    query = sa.select(evaluations.c.body).where(evaluations.c.id == evaluation_id)
    return bytes(conn.execute(query).scalar_one())


def withdraw_evaluation(conn: sa.Connection, evaluation_id: int, *, by: int | None, reason: str) -> None:
    """Withdraw an evaluation: it counts no more. One that was withdrawn before stays as it is."""
    values = {"evaluation_id": evaluation_id, "reason": reason, "created_by": by, "created_at": now_us()}
    added = insert(conn, withdrawn_evaluations).values(**values)
    conn.execute(added.on_conflict_do_nothing(index_elements=["evaluation_id"]))
