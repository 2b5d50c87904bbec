"""A second look: another worker verifies some passes again.

The id of the verdict decides which ones, by a share that the operator sets. If the second result
differs from the first, neither counts, and an event is recorded: one of the machines is broken, or
lies.
"""

import hashlib
from collections.abc import Callable
from uuid import UUID

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.runs.superseding import AUTOMATIC
from deltareg.db.session import read
from deltareg.db.verdicts import signing as signing_queries
from deltareg.db.verdicts import verdicts as verdict_queries
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.gate.agreement import disagreement
from deltareg.service.describe import line_of
from deltareg.service.events import Action
from deltareg.service.priority import BACKGROUND
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.eligible import leave_out, same_people
from deltareg.service.verdicts.facts import check_facts, fact_of_suite
from deltareg.service.verdicts.signed import SignedVerdict
from deltareg.service.verdicts.suites import suite_of

SECOND_OF = "second_of"
"""Of a run's request: the verdict that it looks at again."""
_BITS = 64


def is_chosen(verdict_id: str, share: float) -> bool:
    """Whether a verdict belongs to the share that is verified again.

    The id of the verdict decides, which the server draws after the worker has reported: a worker
    that could predict it would lie where nobody looks again.
    """
    number = int.from_bytes(hashlib.sha256(f"second look:{verdict_id}".encode()).digest()[:8], "big")
    return number < share * (1 << _BITS)


def count_disputes(registry: Registry) -> int:
    """Count the verdicts that a second look disputes, until a key of either is revoked."""
    with read(registry.engine) as conn:
        return signing_queries.count_disputes(conn)


def queue_second_look(
    conn: sa.Connection,
    run: RunRow,
    signed: SignedVerdict,
    *,
    verdict_id: str,
    share: float,
    new_id: Callable[[], UUID],
) -> None:
    """Queue a second look at a pass, if it is chosen and another worker is enrolled."""
    key = signed.key
    if signed.said.verdict != "pass" or key is None or SECOND_OF in run.request:
        return
    if not is_chosen(verdict_id, share) or not signing_queries.other_live_workers(conn, key.id):
        return
    carried = {name: value for name, value in run.request.items() if name not in {"continues", AUTOMATIC}}
    request = {**carried, "policy_digest": "", SECOND_OF: verdict_id}
    queries.enqueue(
        conn,
        run_id=str(new_id()),
        what=run.what,
        dedup_key=f"second:{verdict_id}",
        version_id=run.version_id,
        suite=run.suite,
        priority=BACKGROUND,
        labels={name: value for name, value in run.labels.items() if name != "worker"},
        request=request
        | leave_out([(key.keyid, key.host), *((each, "") for each in same_people(conn, key.principal_id))]),
    )


def settle_second_look(conn: sa.Connection, caller: Caller, run: RunRow, found: VerdictRow) -> None:
    """Compare a verdict with the one that it checks; if they differ, neither counts."""
    first_id = run.request.get(SECOND_OF)
    if first_id is None or found.verdict == "inconclusive":
        return
    first = verdict_queries.verdict_row(conn, first_id)
    suite = fact_of_suite(suite_of(conn, run.suite, run.request["suite_digest"]))
    if first is None:
        return
    reason = disagreement(
        check_facts(first.checks), check_facts(found.checks), required=suite.required, tolerance=suite.tolerance
    )
    if not reason:
        return
    reason = f"{reason} ({first.signer or 'unknown'}, {found.signer or 'unknown'})"
    signing_queries.add_disputes(conn, first.id, found.id, told=reason)
    caller.record(
        conn,
        Action.VERDICT_DISPUTE,
        f"verdict/{first.id}",
        on=line_of(found),
        before={"verdict": first.verdict, "signed_by": first.signer},
        after={"other": found.id, "verdict": found.verdict, "signed_by": found.signer, "told": reason},
    )
