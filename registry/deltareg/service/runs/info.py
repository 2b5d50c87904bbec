"""Runs as the wire shows them, with their places in the queue."""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.access.grants import not_proven_by
from deltareg.db.runs import queue as queue_queries
from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunRow, ShownRunRow
from deltareg.db.runs.superseding import BY
from deltareg.db.runs.turns import place_of
from deltareg.db.runs.worker_rows import BusyWorkerRow
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
from deltareg.service.runs.unknown_to_all import explain_unknown
from deltareg.service.verdicts.verdicts import describe_verdict
from deltareg.service.verdicts.waivers import describe_waivers
from deltareg.wire import ProofFound, RunInfo, StoredChange, VerdictInfo

LIVE_US = 90 * US_PER_S
"""A worker asks for work once a minute at least, where it has none."""


def find_run(conn: sa.Connection, caller: Caller, run_id: str) -> ShownRunRow:
    """Find a run.

    Raises:
        NotFound: The caller sees no run with that id.
    """
    row = queries.run_row(conn, run_id)
    if row is None or not caller.sees(concern_of(row)):
        raise NotFound(f"there is no run {run_id[:40]}", fix="deltareg verdict ls --pending")
    return row


def concern_of(row: ShownRunRow) -> Resource:
    """Return what a run is about: the line of its version, or its base."""
    if row.base_name is not None:
        return Base(row.base_name)
    return EVERYTHING if row.version_id is None else line_of(row)


def concern_of_run(conn: sa.Connection, run: RunRow) -> Resource:
    """Return what a run is about, from a row that has no line."""
    shown_row = queries.run_row(conn, run.id)
    return EVERYTHING if shown_row is None else concern_of(shown_row)


def describe_run(conn: sa.Connection, row: ShownRunRow) -> RunInfo:
    """Describe one run, with its place in the queue while it waits."""
    info = describe_runs(conn, [row])[row.id]
    if row.state != "queued":
        return info
    place = 1 + place_of(conn, row)
    return info.model_copy(update={"position": place, "unserved": explain_unserved(conn, [row])[row.id]})


def describe_ended(row: ShownRunRow) -> RunInfo:
    """Describe a run that has ended, of a kind without verdicts."""
    return _show(row, None)


def describe_runs(conn: sa.Connection, rows: Sequence[ShownRunRow]) -> dict[str, RunInfo]:
    """Describe runs, by id; their verdicts are looked up once for all of them."""
    verdicts = verdict_queries.verdicts_of_runs(conn, [row.id for row in rows])
    waivers = describe_waivers(conn, [verdict.id for verdict in verdicts.values()])
    verdict_infos = {
        run_id: describe_verdict(verdict, waivers.get(verdict.id, ())) for run_id, verdict in verdicts.items()
    }
    return {row.id: _show(row, verdict_infos.get(row.id)) for row in rows}


def explain_unserved(conn: sa.Connection, rows: Sequence[ShownRunRow]) -> dict[str, str]:
    """Return, for each waiting run, why no live worker could take it; empty if one can.

    Labels are compared, what the workers know, and who stands behind each.
    """
    workers = queue_queries.worker_rows(conn, seen_within_us=LIVE_US)
    live = [row for row in workers if not is_for_one_run(row.labels)]
    proofs = [row.id for row in rows if row.what == "prove"] if live else []
    senders = queue_queries.senders_of(conn, proofs) if proofs else {}
    own = {each: not_proven_by(conn, each) for each in {row.principal_id for row in live}} if senders else {}
    reasons = {row.id: _refusal(row.labels, live, own, sender_id=senders.get(row.id)) for row in rows}
    open_rows = [row for row in rows if not reasons[row.id]]
    return reasons | explain_unknown(conn, open_rows, live)


def _refusal(
    required: Mapping[str, str],
    workers: Sequence[BusyWorkerRow],
    own: Mapping[int, Collection[int]],
    *,
    sender_id: int | None,
) -> str:
    if not workers:
        return "no worker runs now"
    able = [row for row in workers if fits(required, row.labels)]
    if not able:
        return f"no worker that runs now offers {tell_labels(required)}"
    if sender_id is not None and all(sender_id in own[row.principal_id] for row in able):
        return "who sent this stands behind every worker that runs now: it takes one of somebody else"
    return ""


def _show(row: ShownRunRow, verdict: VerdictInfo | None) -> RunInfo:
    proof = ProofFound.model_validate(row.result or {})
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
        proof=proof.proof,
        wrong=proof.wrong,
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
    """Return the version that a run compares with; empty if it belongs to another line.

    Readers of one line need not be allowed to read another.
    """
    if row.what != "compare" or row.version_id is None:
        return ""
    other = references_of(row.request)["a"].ref
    return other if other.partition(":")[0] == str(line_of(row)) else ""


def _form(row: ShownRunRow) -> int | None:
    form = row.request.get("form")
    return None if form is None else int(form)


def _stored_bytes(row: ShownRunRow) -> StoredChange | None:
    size = (row.result or {}).get("stored_bytes")
    return None if size is None else StoredChange.model_validate(size)
