"""A third run: when a version passes what it failed before, another worker decides.

Until then the gate accepts neither verdict (`deltareg.gate.contradiction`). The run is queued
automatically if a worker other than the one that passed it is enrolled, preferably one that did not
fail it either.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts import signing as signing_queries
from deltareg.db.verdicts.outcomes import verdict_facts
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.digest import Digest
from deltareg.gate.contradiction import find_contradicted
from deltareg.gate.verdict_facts import VerdictConditions, VerdictFact, VerdictSubject
from deltareg.gate.verdict_rules import why_not
from deltareg.service.describe import line_of
from deltareg.service.events import Action
from deltareg.service.priority import HIGH
from deltareg.service.registry import Caller
from deltareg.service.runs.eligible import NOT_BY, same_people
from deltareg.service.runs.second_look import SECOND_OF
from deltareg.service.verdicts.facts import fact_of, fact_of_suite
from deltareg.service.verdicts.suites import suite_of
from deltareg.service.verdicts.waivers import standing_waivers


def queue_third_run(
    conn: sa.Connection, caller: Caller, run: RunRow, found: VerdictRow, *, new_id: Callable[[], UUID]
) -> None:
    """Queue a third run if a verdict passes what failed before, and record the contradiction."""
    if found.verdict != "pass":
        return
    counting = _counting(conn, run, found)
    failed = find_contradicted(counting)
    if failed is None:
        return
    passes = [verdict for verdict in counting if verdict.is_pass]
    left_out = _left_out(conn, passes, failed)
    run_id = ""
    if left_out:
        carried = {name: value for name, value in run.request.items() if name not in {"continues", SECOND_OF}}
        run_id = queries.enqueue(
            conn,
            run_id=str(new_id()),
            what=run.what,
            dedup_key=f"third:{found.id}",
            version_id=run.version_id,
            suite=run.suite,
            priority=HIGH,
            labels={name: value for name, value in run.labels.items() if name != "worker"},
            request={**carried, "policy_digest": "", NOT_BY: ",".join(left_out)},
        )
    caller.record(
        conn,
        Action.VERDICT_CONTRADICT,
        f"verdict/{found.id}",
        on=line_of(found),
        before={"verdict": "fail", "id": failed.id, "signed_by": failed.signer.worker},
        after={"verdict": "pass", "signed_by": found.signer, "third_run": run_id},
    )


def _counting(conn: sa.Connection, run: RunRow, found: VerdictRow) -> list[VerdictFact]:
    """Return the verdicts with the same bindings as a new one, newest first."""
    suite = fact_of_suite(suite_of(conn, run.suite, run.request["suite_digest"]))
    subject = VerdictSubject(
        "", Digest.parse(found.manifest_digest), Digest.parse(found.base_root), identity=found.base_identity
    )
    rows = verdict_facts(conn, present(run.version_id))
    waived = standing_waivers(conn, [row.id for row in rows])
    facts = [fact_of(row, waived.get(row.id, {})) for row in rows if row.suite == run.suite]
    return [fact for fact in facts if why_not(fact, subject, suite, bound=VerdictConditions()) is None]


def _left_out(conn: sa.Connection, passes: Sequence[VerdictFact], failed: VerdictFact) -> list[str]:
    """Return the keys to exclude from the third run; none if there is no other worker."""
    keyids = {verdict.signer.keyid for verdict in passes}
    theirs = {keyid for each in passes for keyid in _keys_of_people(conn, each.signer.keyid)}
    for keys in (keyids | theirs | {failed.signer.keyid}, keyids | {failed.signer.keyid}, keyids):
        left_out = sorted(keys - {""})
        if signing_queries.has_live_worker_but(conn, left_out):
            return left_out
    return []


def _keys_of_people(conn: sa.Connection, keyid: str) -> list[str]:
    """Return the keys of all workers of who stands behind a worker that signed, if others have workers."""
    key = signing_queries.find_key(conn, keyid=keyid) if keyid else None
    return [] if key is None else same_people(conn, key.principal_id)
