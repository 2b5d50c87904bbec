"""Runs that compare two versions of one base by their tensors: how far, in which modules.

What one finds out is kept as long as both versions stand, and whoever asks again is given it. No
gate goes by it. A run that is dead found out nothing.
"""

from typing import Final

import sqlalchemy as sa
from pydantic import ValidationError

from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs import run_results
from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunResultRow, RunRow
from deltareg.errors import InvalidInput
from deltareg.service.labels import RUNS
from deltareg.service.ledger.references import named_beside
from deltareg.service.priority import NORMAL
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.kind import RunKind
from deltareg.wire.findings import DifferencesFound

WHAT: Final = "compare"


def queue_compare(conn: sa.Connection, caller: Caller, a: VersionRow, b: VersionRow, *, run_id: str) -> str:
    """Queue a comparison in the caller's transaction, or join the one under way; give its id."""
    found = queries.enqueue(
        conn,
        run_id=run_id,
        what=WHAT,
        dedup_key=key_of(a, b),
        version_id=b.id,
        request=named_beside({"a": a}),
        labels={RUNS: WHAT},
        priority=NORMAL,
        created_by=caller.principal_id,
    )
    run_results.keep_asked(conn, found, asked=b"{}", other_id=a.id)
    return found


def key_of(a: VersionRow, b: VersionRow) -> str:
    """Name a comparison; that of b with a has other numbers."""
    return f"{WHAT}:{a.id}:{b.id}"


def read_found(_asked: RunResultRow, text: str) -> bytes:
    """Read what a worker found, as it is kept.

    Raises:
        InvalidInput: It is no such document.
    """
    try:
        found = DifferencesFound.model_validate_json(text)
    except ValidationError as error:
        told = error.errors()[0]
        raise InvalidInput(f"this is no comparison: {told['loc']}: {told['msg']}") from error
    return found.model_dump_json().encode()


def _find_nothing(conn: sa.Connection, caller: Caller, base_id: int) -> None:
    """Queue nothing when a base is stored: who wants to know asks again."""


def _leave(conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
    """Change nothing when a run is dead."""


KIND = RunKind(WHAT, on_base=_find_nothing, on_death=_leave)
