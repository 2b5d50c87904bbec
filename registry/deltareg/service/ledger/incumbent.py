"""The incumbent: the version that a channel serves now, with which a newcomer is compared."""

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.service.describe import ref_of
from deltareg.suites.suite import Suite

DEFAULT_CHANNEL = "prod"


def incumbent_request(conn: sa.Connection, version: VersionRow, suite: Suite, *, channel: str | None) -> dict[str, str]:
    """Give what a run's request says of the incumbent; nothing for a suite that asks for none.

    A version is not compared with itself, nor with a version that is deleted.
    """
    if not suite.needs_promoted:
        return {}
    served = incumbent(conn, version.delta_id, channel or DEFAULT_CHANNEL)
    if served is None or served.id == version.id or served.deleted_at is not None:
        return {"promoted": "", "promoted_digest": ""}
    return {"promoted": ref_of(served), "promoted_digest": served.manifest_digest}


def incumbent(conn: sa.Connection, delta_id: int, channel: str) -> VersionRow | None:
    """Find the version that a channel of a line serves now; None when there is none."""
    served = [row for row in channel_queries.pointers(conn, [delta_id]) if row.name == channel]
    return version_queries.version_by_id(conn, served[0].version) if served else None
