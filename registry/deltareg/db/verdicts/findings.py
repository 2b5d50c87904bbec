"""The checks of versions, by the newest verdict of each suite."""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.sql.fetch import fetch_each
from deltareg.db.tables import verdicts, versions
from deltareg.db.verdicts.outcomes import of_own_base
from deltareg.db.verdicts.rows import FindingRow
from deltareg.db.verdicts.signing import is_for_all


def newest_findings(conn: sa.Connection, version_ids: Iterable[int]) -> dict[tuple[int, str], FindingRow]:
    """Return the newest verdict of each suite about versions on their own bases."""
    query = (
        sa.select(verdicts.c.version_id, verdicts.c.suite, verdicts.c.checks)
        .join(versions, of_own_base())
        .where(is_for_all(), verdicts.c.version_id.in_(list(version_ids)))
        .order_by(verdicts.c.created_at, verdicts.c.id)
    )
    return {(row.version_id, row.suite): row for row in fetch_each(conn, query, FindingRow)}
