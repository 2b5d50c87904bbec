"""The moves of a worker and of a queue, for the tests of both."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.runs import runs as run_queries
from deltareg.db.session import with_retry, write
from deltareg.db.sql.clock import now_us
from deltareg.gate.verifier import VERIFIER
from deltareg.service.authority.grants import grants_of
from deltareg.service.registry import Caller
from deltareg.service.runs.leases import claim_lease
from deltareg.suites.suite import built_in
from deltareg.wire import CheckOutcome, CheckResult, LeaseRequest, VerdictReport
from tests.service import rows
from tests.signers import enrol, sign

SMOKE = built_in("smoke")
_CLAIMED: dict[tuple[str, str], tuple] = {}  # by run and nonce: key, name and labels of who claimed it


def claim(registry, caller, *, name="w1", labels=None, run="", knows=None):
    key = enrol(registry.engine, caller.principal_id, caller.principal)
    request = LeaseRequest(worker=name, labels=labels or {}, key=str(key.public), run=run, knows=knows)
    grant = claim_lease(registry, caller, request, lease_s=60)
    if grant is not None:
        _CLAIMED[grant.run, grant.nonce] = (key, name, labels or {})
    return grant


def report(grant, **found):
    """Write what a worker found under a lease, signed as who claimed it."""
    key, name, labels = _CLAIMED[grant.run, grant.nonce]
    return sign(grant, findings(grant, **found), key, worker=name, labels=labels)


def findings(grant, *, verdict="pass", checks=None, skip=None, fail=None, suite_digest=None):
    outcomes: dict[str, CheckOutcome] = {spec.name: "pass" for spec in SMOKE.checks}
    outcomes |= {skip: "skipped"} if skip else {}
    outcomes |= {fail: "fail"} if fail else {}
    if checks is None:
        checks = [CheckResult(name=name, verdict=found) for name, found in outcomes.items()]
    return VerdictReport(
        fence=grant.fence,
        verdict=verdict,
        verifier=VERIFIER,
        dtype="float32",
        seed=SMOKE.seed,
        suite_digest=suite_digest or grant.suite_digest,
        base_evidence="exact",
        checks=checks,
        environment={"device": "cpu"},
        sandbox="full",
    )


def reader(caller):
    return Caller(caller.principal, caller.principal_id, None, grants_of(["read"]))


def enqueue(registry, run_id, *, labels=None, priority=0):
    (version,) = rows.rows(registry.engine, t.versions)
    with_retry(
        registry.engine,
        lambda conn: run_queries.enqueue(
            conn,
            run_id=run_id,
            what="verify",
            dedup_key=run_id,
            version_id=version.id,
            suite="smoke",
            request={"suite_digest": str(SMOKE.digest)},
            labels=labels,
            priority=priority,
        ),
    )


def expire(registry, run_id):
    """Let the lease of a run have ended a moment ago, as the database sees it."""
    with write(registry.engine) as conn:
        ended = sa.update(t.runs).where(t.runs.c.id == run_id)
        conn.execute(ended.values(lease_expires_at=now_us() - 2_000))


def audited(registry):
    return [(row.actor, row.action, row.subject) for row in rows.rows(registry.engine, t.audit)]
