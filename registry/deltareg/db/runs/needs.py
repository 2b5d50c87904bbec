"""What waiting runs need to be known, counted: their kind, labels, suite, and the kind of their version."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.runs.turns import WAITS
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import runs, versions
from deltareg.db.tables.runs import ACTIVE


@dataclass(frozen=True, slots=True)
class NeedRow:
    """The number of waiting runs that need the same; labels are JSON text."""

    what: str
    labels: str
    suite: str
    suite_digest: str
    kind: str | None
    waiting: int


def waiting_needs(conn: sa.Connection) -> Sequence[NeedRow]:
    """Count waiting runs by what they need."""
    each = (
        sa.select(
            runs.c.what,
            sa.cast(runs.c.labels, sa.Text).label("labels"),
            runs.c.suite,
            sa.func.coalesce(runs.c.request["suite_digest"].as_string(), "").label("suite_digest"),
            versions.c.kind,
        )
        .select_from(runs)
        .outerjoin(versions, versions.c.id == runs.c.version_id)
        .where(ACTIVE, WAITS)
        .subquery()
    )
    return fetch_all(conn, sa.select(*each.c, sa.func.count().label("waiting")).group_by(*each.c), NeedRow)
