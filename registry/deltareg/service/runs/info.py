"""Runs as the wire shows them, and where in the queue each of them stands."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.runs import queue as queue_queries
from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunRow, ShownRunRow
from deltareg.db.runs.superseding import BY
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.verdicts import verdicts as verdict_queries
from deltareg.errors import NotFound
from deltareg.service.authority.resources import EVERYTHING, Base, Resource
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.describe import line_of, ref_of
from deltareg.service.labels import fits, is_for_one_run, tell_labels
from deltareg.service.ledger.references import references_of
from deltareg.service.priority import priority_word
from deltareg.service.registry import Caller
from deltareg.service.verdicts.verdicts import describe_verdict
from deltareg.service.verdicts.waivers import describe_waivers
from deltareg.wire import ProofFound, RunInfo, StoredChange, VerdictInfo

LIVE_US = 90 * US_PER_S
"""A worker asks for work once a minute at least, where it has none."""


def find_run(conn: sa.Connection, caller: Caller, run_id: str) -> ShownRunRow:
    """Find a run.

    Raises:
        NotFound: There is none of that id that the caller may see.
    """
    row = queries.run_row(conn, run_id)
    if row is None or not caller.sees(concern_of(row)):
        raise NotFound(f"there is no run {run_id[:40]}", fix="deltareg verdict ls --pending")
    return row


def concern_of(row: ShownRunRow) -> Resource:
    """Give what a run is about: the line of its version, or its base."""
    if row.base_name is not None:
        return Base(row.base_name)
    return EVERYTHING if row.version_id is None else line_of(row)


def concern_of_run(conn: sa.Connection, run: RunRow) -> Resource:
    """Give what a run is about, of a row that names no line."""
    named = queries.run_row(conn, run.id)
    return EVERYTHING if named is None else concern_of(named)


def describe_run(conn: sa.Connection, row: ShownRunRow) -> RunInfo:
    """Show one run, and while it waits its place in the queue."""
    shown = describe_runs(conn, [row])[row.id]
    if row.state != "queued":
        return shown
    place = 1 + queue_queries.place_of(conn, row)
    return shown.model_copy(update={"position": place, "unserved": explain_unserved(conn, [row])[row.id]})


def describe_ended(row: ShownRunRow) -> RunInfo:
    """Show a run that has ended, of a kind that has no verdicts."""
    return _show(row, None)


def describe_runs(conn: sa.Connection, rows: Sequence[ShownRunRow]) -> dict[str, RunInfo]:
    """Show runs by id; their verdicts are looked up once for all of them."""
    verdicts = verdict_queries.verdicts_of_runs(conn, [row.id for row in rows])
    waivers = describe_waivers(conn, [verdict.id for verdict in verdicts.values()])
    shown = {run_id: describe_verdict(verdict, waivers.get(verdict.id, ())) for run_id, verdict in verdicts.items()}
    return {row.id: _show(row, shown.get(row.id)) for row in rows}


def explain_unserved(conn: sa.Connection, rows: Sequence[ShownRunRow]) -> dict[str, str]:
    """Say of each run that waits why no worker which runs now could take it; empty where one can.

    Workers of any release ask for the kinds of run that they know; only labels are looked at.
    """
    known = queue_queries.worker_rows(conn, seen_within_us=LIVE_US)
    offers = [row.labels for row in known if not is_for_one_run(row.labels)]
    return {row.id: _refusal(row.labels, offers) for row in rows}


def _refusal(required: Mapping[str, str], offers: Sequence[Mapping[str, str]]) -> str:
    if not offers:
        return "no worker runs now"
    if any(fits(required, offered) for offered in offers):
        return ""
    return f"no worker that runs now offers {tell_labels(required)}"


def _show(row: ShownRunRow, verdict: VerdictInfo | None) -> RunInfo:
    found = ProofFound.model_validate(row.result or {})
    return RunInfo(
        id=row.id,
        what=row.what,
        ref="" if row.version_id is None else ref_of(row),
        suite=row.suite,
        state=row.state,
        attempt=row.attempt,
        worker=row.lease_holder,
        error=row.error,
        verdict=verdict,
        against=row.request.get("against", ""),
        stored_bytes=_stored_bytes(row),
        variant=row.request.get("variant", ""),
        base=row.base_name or "",
        proof=found.proof,
        wrong=found.wrong,
        form=_form(row),
        proof_run=str((row.result or {}).get("proof_run", "")),
        superseded_by=str((row.result or {}).get(BY, "")),
        other=_other(row),
        priority=priority_word(row.priority),
        labels=row.labels,
        created_at=rfc3339(row.created_at),
        started_at=rfc3339_or_none(row.started_at),
        finished_at=rfc3339_or_none(row.finished_at),
    )


def _other(row: ShownRunRow) -> str:
    """Name the version that a run compares with; readers of one line need not see another."""
    if row.what != "compare" or row.version_id is None:
        return ""
    other = references_of(row.request)["a"].ref
    return other if other.partition(":")[0] == str(line_of(row)) else ""


def _form(row: ShownRunRow) -> int | None:
    named = row.request.get("form")
    return None if named is None else int(named)


def _stored_bytes(row: ShownRunRow) -> StoredChange | None:
    found = (row.result or {}).get("stored_bytes")
    return None if found is None else StoredChange.model_validate(found)
