"""Runs that compare two versions of one base by their tensors: how far, in which modules.

The result is stored as long as both versions exist, and returned to whoever asks again. No gate
uses it. A dead run has no result.
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
    """Queue a comparison in the caller's transaction, or join the one under way; return its id."""
    queued_id = queries.enqueue(
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
    run_results.keep_asked(conn, queued_id, asked=b"{}", other_id=a.id)
    return queued_id


def key_of(a: VersionRow, b: VersionRow) -> str:
    """Return the key of a comparison; the reverse comparison has another, as its numbers differ."""
    return f"{WHAT}:{a.id}:{b.id}"


def read_found(_asked: RunResultRow, text: str) -> bytes:
    """Parse a worker's result and return it as it is stored.

    Raises:
        InvalidInput: The text is no such document.
    """
    try:
        differences = DifferencesFound.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        raise InvalidInput(f"this is no comparison: {problem['loc']}: {problem['msg']}") from error
    return differences.model_dump_json().encode()


def _find_nothing(conn: sa.Connection, caller: Caller, base_id: int) -> None:
    """Queue nothing when a base is stored: whoever wants a comparison asks again."""


def _leave(conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
    """Change nothing when a run is dead."""


KIND = RunKind(WHAT, on_base=_find_nothing, on_death=_leave)
