"""The incumbent: the version that a channel serves now, which a newcomer is compared with."""

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.service.describe import ref_of
from deltareg.suites.suite import Suite

DEFAULT_CHANNEL = "prod"


def incumbent_request(conn: sa.Connection, version: VersionRow, suite: Suite, *, channel: str | None) -> dict[str, str]:
    """Return the incumbent as entries of a run's request; none for a suite that needs no incumbent.

    A version is not compared with itself, nor with a deleted version.
    """
    if not suite.needs_promoted:
        return {}
    current = incumbent(conn, version.delta_id, channel or DEFAULT_CHANNEL)
    if current is None or current.id == version.id or current.deleted_at is not None:
        return {"promoted": "", "promoted_digest": ""}
    return {"promoted": ref_of(current), "promoted_digest": current.manifest_digest}


def incumbent(conn: sa.Connection, delta_id: int, channel: str) -> VersionRow | None:
    """Find the version that a channel of a line serves now; None when there is none."""
    pointers = [row for row in channel_queries.pointers(conn, [delta_id]) if row.name == channel]
    return version_queries.version_by_id(conn, pointers[0].version) if pointers else None
