"""What verdicts were held against: the checks of a verdict beside what its run was given."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.sql.fetch import fetch_each
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import runs, verdicts


@dataclass(frozen=True, slots=True)
class HeldVerdictRow:
    """A verdict of a suite, and the request of its run, which names what it was compared with."""

    id: str
    version_id: int
    manifest_digest: str
    checks: Sequence[Mapping[str, object]]
    request: Mapping[str, str]


def held_verdicts(conn: sa.Connection, verdict_ids: Iterable[str], *, suite: str) -> dict[str, HeldVerdictRow]:
    """Return those of some verdicts that are of a suite, whatever its digest was, by id."""
    rows: dict[str, HeldVerdictRow] = {}
    for part in batches(sorted(set(verdict_ids))):
        query = (
            sa.select(
                verdicts.c.id, verdicts.c.version_id, verdicts.c.manifest_digest, verdicts.c.checks, runs.c.request
            )
            .join(runs, runs.c.id == verdicts.c.run_id)
            .where(verdicts.c.id.in_(part), sa.func.coalesce(verdicts.c.suite, "") == suite)
        )
        rows |= {row.id: row for row in fetch_each(conn, query, HeldVerdictRow)}
    return rows
