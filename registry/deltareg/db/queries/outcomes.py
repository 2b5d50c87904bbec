"""Verdicts as the gate and the lists need them: newest first, by what they are bound to."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.rows import Row
from deltareg.db.tables import verdicts


def verdict_facts(conn: sa.Connection, version_id: int) -> Sequence[Row]:
    """List the verdicts of a version, newest first, with their keys and checks."""
    query = (
        sa.select(
            verdicts.c.id, verdicts.c.manifest_digest, verdicts.c.base_root, verdicts.c.suite,
            verdicts.c.suite_digest, verdicts.c.verdict, verdicts.c.checks, verdicts.c.created_at,
        )
        .where(verdicts.c.version_id == version_id)
        .order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
    )  # fmt: skip
    return conn.execute(query).all()


def newest_outcomes(
    conn: sa.Connection, version_ids: Iterable[int], *, suite: str, suite_digest: str
) -> dict[int, str]:
    """Give the newest outcome of a suite, as it is now, for each version that has one."""
    query = (
        sa.select(verdicts.c.version_id, verdicts.c.verdict)
        .where(
            verdicts.c.version_id.in_(list(version_ids)),
            verdicts.c.suite == suite,
            verdicts.c.suite_digest == suite_digest,
        )
        .order_by(verdicts.c.created_at, verdicts.c.id)
    )
    return {row.version_id: row.verdict for row in conn.execute(query)}
