"""The base that a run is carried out on: that of its version, or the variant that it names."""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.db.bases import bases as queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.service.base_parts import identity_of


def base_of_run(conn: sa.Connection, request: Mapping[str, str], version: VersionRow) -> BaseRow | None:
    """Return the base that a run about a version is carried out on; None where it is not here.

    Args:
        conn: A transaction.
        request: What the run was asked for.
        version: Its version.
    """
    name, root = request.get("variant"), request.get("base_root")
    if name is None:
        return queries.base_of(conn, version)
    identity = request.get("base_identity", "")
    rows = queries.base_rows(conn, name=name, root=root, limit=1)
    return next((row for row in rows if identity in {"", identity_of(conn, row)}), None)
