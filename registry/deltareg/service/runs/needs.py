"""The versions and bases whose bytes a run needs: its own, its base, and those compared with."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.bases import stacks
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs.rows import RunRow, ShownRunRow
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import damage
from deltareg.service.ledger.references import reference_versions
from deltareg.service.runs.eligible import FORM


def needed_by(conn: sa.Connection, run: RunRow | ShownRunRow) -> list[PackHolder]:
    """List the versions and bases that a run reads, each once, its own first."""
    if run.base_id is not None:
        return [PackHolder(run.base_id, is_base=True)]
    version = version_queries.version_by_id(conn, present(run.version_id))
    is_read = FORM not in run.request and version.released_at is None
    holders = [PackHolder(version.id)] if is_read else []
    for one in _compared_with(conn, run, version):
        holders += [PackHolder(one.id), *_below(conn, one)]
    return list(dict.fromkeys([*holders, *_below(conn, version)]))


def corrupt_among(conn: sa.Connection, needed: Sequence[PackHolder]) -> list[PackHolder]:
    """Return those of some versions and bases that are corrupt."""
    bases = damage.corrupt_bases(conn, [held.row_id for held in needed if held.is_base])
    rows = version_queries.versions_by_ids(conn, [h.row_id for h in needed if not h.is_base])
    versions = {row.id for row in rows.values() if row.corrupt_at is not None}
    return [held for held in needed if held.row_id in (bases if held.is_base else versions)]


def _below(conn: sa.Connection, version: VersionRow) -> list[PackHolder]:
    """Return what a version stands on: its base, and what that is made of."""
    if version.base_id is None:
        return []
    parts = stacks.stack_below(conn, version.base_id)
    bases = [row.base_id for row in (version, *parts) if row.base_id is not None]
    return [*(PackHolder(one, is_base=True) for one in bases), *(PackHolder(row.id) for row in parts)]


def _compared_with(conn: sa.Connection, run: RunRow | ShownRunRow, version: VersionRow) -> list[VersionRow]:
    digest = run.request.get("promoted_digest")
    promoted = version_queries.find_version(conn, version.delta_id, digest=digest) if digest else None
    versions = [] if promoted is None else [promoted]
    return versions + reference_versions(conn, run.request)
