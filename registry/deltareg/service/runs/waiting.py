"""Verifications that wait: what they read is corrupt, so they were inconclusive.

A version cannot be compared with an unreadable incumbent, nor judged on a corrupt base. The verdict
names what it waits for, and the command that heals it. Once that is proven again, the verification
is queued again (`service.runs.requeue`), once.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs.rows import RunRow, ShownRunRow
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import waiting as queries
from deltareg.db.storage.shares import PackHolder
from deltareg.service.corrupt import push_again
from deltareg.service.describe import ref_of
from deltareg.service.runs.needs import corrupt_among, needed_by
from deltareg.wire import CheckResult

WAITS_FOR = "waits_for"
"""In a verdict that came to nothing: what has to be healed first."""


def note_waiting(conn: sa.Connection, run: RunRow | ShownRunRow) -> CheckResult | None:
    """Record what an inconclusive run waits for; return it as a check for its verdict."""
    corrupt = corrupt_among(conn, needed_by(conn, run))
    if not corrupt:
        return None
    queries.add_waiting(conn, run.id, corrupt)
    version = version_queries.version_by_id(conn, present(run.version_id))
    named_fixes = [_tell(conn, held, version) for held in corrupt]
    heal = "; ".join(dict.fromkeys(fix for _, fix in named_fixes))
    return CheckResult(
        name=WAITS_FOR,
        value=", ".join(name for name, _ in named_fixes),
        verdict="skipped",
        detail=f"{heal}; once that is proven, this is verified again by itself",
    )


def note_cancelled(conn: sa.Connection, run_ids: Sequence[str], held: PackHolder) -> None:
    """Make runs that were cancelled for their corrupt version wait for that version."""
    for run_id in run_ids:
        queries.add_waiting(conn, run_id, [held])


def _tell(conn: sa.Connection, held: PackHolder, version: VersionRow) -> tuple[str, str]:
    """Return the name of something corrupt and what heals it, for readers of the version alone."""
    ask = "ask who pushed it to push it again"
    if not held.is_base:
        other = version_queries.version_by_id(conn, held.row_id)
        if other.namespace != version.namespace:
            return "a version of another namespace", ask
        return ref_of(other), f"push its folder again: {_again(conn, held, version)}"
    base = base_queries.base_rows(conn, base_id=held.row_id, limit=1, also_deleted=True)[0]
    namespace, slash, _ = base.name.partition("/")
    if slash and namespace != version.namespace:
        return "a base of another namespace", ask
    return f"base {base.name}", f"push its folder again: {_again(conn, held, version)}"


def _again(conn: sa.Connection, held: PackHolder, version: VersionRow) -> str:
    return push_again(conn, held, within=version.namespace)
