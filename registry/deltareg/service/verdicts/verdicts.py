"""Verdicts: what a worker found, bound to the exact things that it was found for.

The server binds a verdict to the run's version, its base and the suite as it is; when one of them
is another one, the verdict does not count any more. A pass has to be earned: every check that the
suite requires ran, and none failed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.queries import packs as pack_queries
from deltareg.db.queries import verdicts as queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.rows import RunRow, Timed, VerdictRow, present
from deltareg.db.session import read
from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of, ref_of
from deltareg.service.paging import check_limit, page, read_mark_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.service.verdicts.facts import why_uncounted
from deltareg.service.verdicts.suites import suite_of
from deltareg.service.verdicts.waivers import describe_waivers, find_verdict
from deltareg.suites.suite import CheckSpec, Suite
from deltareg.wire import CheckResult, Page, VerdictInfo, VerdictReport, Waiver

INFRASTRUCTURE = "infrastructure"
DIGESTS = "digests"
_HAS_RUN = {"pass", "warn", "fail"}


def list_verdicts(
    registry: Registry,
    caller: Caller,
    ref: Ref | None,
    *,
    suite: str | None,
    cursor: str | None,
    limit: int,
) -> Page[VerdictInfo]:
    """List verdicts about a version, or about all that the caller may read, newest first."""
    caller.require(Right.READ, on=SOMEWHERE if ref is None else ref.line)
    mark = read_mark_cursor(cursor)
    with read(registry.engine) as conn:
        version_id = None if ref is None else find_version(conn, caller, ref, bare="newest").id
        rows = queries.verdict_rows(
            conn, version_id=version_id, suite=suite, sight=caller.sight, before=mark,
            limit=check_limit(limit) + 1,
        )  # fmt: skip
        waivers = describe_waivers(conn, [row.id for row in rows])
    return page(
        rows, limit, show=lambda row: describe_verdict(row, waivers.get(row.id, ())), key=mark_of
    )


def show_verdict(registry: Registry, caller: Caller, verdict_id: str) -> VerdictInfo:
    """Show one verdict.

    Raises:
        NotFound: There is none of that id.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    with read(registry.engine) as conn:
        row = find_verdict(conn, caller, verdict_id)
        caller.require(Right.READ, on=line_of(row))
        waivers = describe_waivers(conn, [verdict_id])
    return describe_verdict(row, waivers.get(verdict_id, ()))


def describe_verdict(row: VerdictRow, waivers: Sequence[Waiver] = ()) -> VerdictInfo:
    """Show a verdict row with its waivers, and whether it counts for the version as it is now."""
    uncounted = why_uncounted(row)
    if row.variant and not uncounted:
        uncounted = f"it is about {row.variant}, and counts where a policy asks for that variant"
    return VerdictInfo(
        id=row.id, run=row.run_id, ref=ref_of(row), digest=row.manifest_digest,
        base_root=row.base_root, suite=row.suite, suite_digest=row.suite_digest,
        verifier=row.verifier, verdict=row.verdict, counts=not uncounted, dtype=row.dtype,
        seed=row.seed, base_evidence=row.base_evidence,
        checks=[CheckResult.model_validate(check) for check in row.checks],
        environment=row.environment, sandbox=row.sandbox, compared_with=row.compared_with,
        created_at=rfc3339(row.created_at), created_by=row.maker or "registry",
        policy_digest=row.policy_digest, not_counting=uncounted, waivers=list(waivers),
        variant=row.variant,
    )  # fmt: skip


def record_verdict(
    conn: sa.Connection, run: RunRow, report: VerdictReport, *, verdict_id: str, created_by: int
) -> None:
    """Insert what a worker found, in the transaction that ends its run.

    Raises:
        InvalidInput: The worker ran another suite, or claims a pass that its checks do not show.
    """
    if report.suite_digest != run.request["suite_digest"]:
        raise InvalidInput(
            f"the run asks for suite {run.suite} {run.request['suite_digest']},"
            f" the worker has {report.suite_digest}",
            fix="run a worker of the server's release: deltareg version",
        )
    if report.verdict == "pass":
        suite = suite_of(conn, run.suite, run.request["suite_digest"])
        _check_pass(report.checks, suite)
    found = report.model_dump(exclude={"fence"})
    _insert(conn, run, found, verdict_id=verdict_id, created_by=created_by)
    if any(check.name == DIGESTS and check.verdict == "fail" for check in report.checks):
        # Its bytes are not what its manifest says: nobody else's version may be built of them.
        pack_queries.forget_pieces_of_version(conn, present(run.version_id))


def record_inconclusive(
    conn: sa.Connection, run: RunRow, error: str, *, verdict_id: str, created_by: int | None
) -> None:
    """Insert that a run could not be carried out, in the transaction that ends it."""
    check = CheckResult(name=INFRASTRUCTURE, verdict="fail", detail=error)
    found: dict[str, object] = {
        "suite_digest": run.request["suite_digest"], "verifier": "", "dtype": "", "seed": 0,
        "verdict": "inconclusive", "base_evidence": "", "checks": [check.model_dump()],
        "environment": {}, "sandbox": "",
    }  # fmt: skip
    _insert(conn, run, found, verdict_id=verdict_id, created_by=created_by)


def mark_of(row: Timed) -> str:
    """Write where a list by time and id goes on."""
    return f"{row.created_at}/{row.id}"


def _check_pass(checks: Sequence[CheckResult], suite: Suite) -> None:
    names = Counter(check.name for check in checks)
    strange = sorted(names.keys() - {spec.name for spec in suite.checks})
    strange += [name for name, count in names.items() if count > 1]
    if strange:
        raise InvalidInput(
            f"this is no pass: {strange[0]!r} is not a check of suite {suite.name}, or there twice",
            fix="report each check of the suite once; run a worker of the server's release",
        )
    outcomes = {check.name: check.verdict for check in checks}
    failed = [check.name for check in checks if check.verdict == "fail"]
    missing = [
        spec.name
        for spec in suite.checks
        if spec.required and not _has_run(spec, outcomes.get(spec.name))
    ]
    if failed or missing:
        what = f"{failed[0]} failed" if failed else f"{missing[0]} did not run"
        raise InvalidInput(
            f"this is no pass: {what}", fix="a check that did not run makes it inconclusive"
        )


def _has_run(spec: CheckSpec, outcome: str | None) -> bool:
    return outcome in _HAS_RUN or (outcome == "n/a" and spec.may_not_apply)


def _insert(
    conn: sa.Connection,
    run: RunRow,
    found: Mapping[str, object],
    *,
    verdict_id: str,
    created_by: int | None,
) -> None:
    version = version_queries.version_by_id(conn, present(run.version_id))
    bound = {
        "id": verdict_id, "run_id": run.id, "version_id": version.id,
        "manifest_digest": version.manifest_digest,
        "base_root": run.request.get("base_root", version.base_root),
        "suite": run.suite, "policy_digest": run.request.get("policy_digest", ""),
        "created_by": created_by,
    }  # fmt: skip
    compared_with = run.request.get("promoted_digest", "")
    queries.add_verdict(conn, {**found, **bound}, compared_with=compared_with)
