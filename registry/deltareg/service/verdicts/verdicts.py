"""Verdicts: the result of a verification, bound to exactly what was verified.

The server binds a verdict to the run's version, its base and the current suite; when one of them
changes, the verdict does not count any more. A pass has to be earned: every check that the suite
requires ran, and none failed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.bases.bases import base_of, base_rows
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.runs.rows import RunRow
from deltareg.db.session import read
from deltareg.db.sql.row_protocols import TimeColumns, present
from deltareg.db.storage import packs as pack_queries
from deltareg.db.verdicts import verdicts as queries
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.db.verdicts.signing import envelope_row
from deltareg.errors import InvalidInput, NotFound
from deltareg.gate.verdict_facts import INFRASTRUCTURE
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.base_parts import with_identity
from deltareg.service.clock import rfc3339
from deltareg.service.describe import line_of, ref_of
from deltareg.service.paging import check_limit, page, read_mark_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.service.verdicts.facts import why_uncounted
from deltareg.service.verdicts.suites import suite_of
from deltareg.service.verdicts.waivers import carry_waivers, describe_waivers, find_verdict
from deltareg.suites.shown_checks import unshown
from deltareg.suites.suite import Suite
from deltareg.wire import CheckResult, EnvelopeInfo, Page, VerdictInfo, VerdictReport, Waiver

DIGESTS = "digests"
_NO_CHECK = "this worker has no such check"


def list_verdicts(
    registry: Registry, caller: Caller, ref: Ref | None, *, suite: str | None, cursor: str | None, limit: int
) -> Page[VerdictInfo]:
    """List the verdicts about a version, or about all that the caller may read, newest first."""
    caller.require(Right.READ, on=SOMEWHERE if ref is None else ref.line)
    mark = read_mark_cursor(cursor)
    with read(registry.engine) as conn:
        version_id = None if ref is None else find_version(conn, caller, ref, bare="newest").id
        rows = queries.verdict_rows(
            conn, version_id=version_id, suite=suite, sight=caller.sight, before=mark, limit=check_limit(limit) + 1
        )
        waivers = describe_waivers(conn, [row.id for row in rows])
    return page(rows, limit, show=lambda row: describe_verdict(row, waivers.get(row.id, ())), key=mark_of)


def show_verdict(registry: Registry, caller: Caller, verdict_id: str) -> VerdictInfo:
    """Show one verdict.

    Raises:
        NotFound: There is no verdict with that id.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    with read(registry.engine) as conn:
        row = find_verdict(conn, caller, verdict_id)
        caller.require(Right.READ, on=line_of(row))
        waivers = describe_waivers(conn, [verdict_id])
    return describe_verdict(row, waivers.get(verdict_id, ()))


def show_envelope(registry: Registry, caller: Caller, verdict_id: str) -> EnvelopeInfo:
    """Return the signed envelope of a verdict, exactly as it was received.

    Raises:
        NotFound: There is no such verdict, or it was never signed.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    with read(registry.engine) as conn:
        caller.require(Right.READ, on=line_of(find_verdict(conn, caller, verdict_id)))
        row = envelope_row(conn, verdict_id)
    if row is None:
        raise NotFound(
            f"verdict {verdict_id} is not signed: it is of an older release, or of a run that came to nothing",
            fix="deltareg verify REF --again --wait",
        )
    return EnvelopeInfo(verdict=verdict_id, keyid=row.keyid, envelope=row.body.decode())


def describe_verdict(row: VerdictRow, waivers: Sequence[Waiver] = ()) -> VerdictInfo:
    """Describe a verdict with its waivers, and whether it counts for the version as it is now."""
    uncounted = why_uncounted(row)
    if row.disputed and not uncounted:
        uncounted = f"two workers disagree: {row.disputed}"
    if row.variant and not uncounted:
        uncounted = f"it is about {row.variant}, and counts where a policy asks for that variant"
    return VerdictInfo(
        id=row.id,
        run=row.run_id,
        ref=ref_of(row),
        digest=row.manifest_digest,
        base_root=row.base_root,
        base_identity=row.base_identity,
        suite=row.suite,
        suite_digest=row.suite_digest,
        verifier=row.verifier,
        counts=not uncounted,
        dtype=row.dtype,
        verdict="inconclusive" if row.disputed else row.verdict,
        seed=row.seed,
        base_evidence=row.base_evidence,
        checks=[CheckResult.model_validate(check) for check in row.checks],
        environment=row.environment,
        sandbox=row.sandbox,
        compared_with=row.compared_with,
        created_at=rfc3339(row.created_at),
        created_by=row.maker or "registry",
        policy_digest=row.policy_digest,
        not_counting=uncounted,
        waivers=list(waivers),
        variant=row.variant,
        signed_by=row.signer,
        keyid=row.keyid,
        host=row.host,
        is_local=bool(row.keyid) and not row.signer,
        disputed=row.disputed,
        is_complete=bool(row.is_complete),
        continues=row.continues,
        continuation=row.continuation,
    )


def record_verdict(
    conn: sa.Connection, run: RunRow, report: VerdictReport, *, verdict_id: str, created_by: int
) -> None:
    """Insert the report of a worker, in the transaction that ends its run.

    Raises:
        InvalidInput: The worker ran another suite, or claims a pass that its checks do not show.
    """
    if report.suite_digest != run.request["suite_digest"]:
        raise InvalidInput(
            f"the run asks for suite {run.suite} {run.request['suite_digest']}, the worker has {report.suite_digest}",
            fix="run a worker of the server's release: deltareg version",
        )
    unknown = next((one for one in report.checks if one.verdict == "skipped" and _NO_CHECK in one.detail), None)
    if unknown is not None:
        raise InvalidInput(f"{unknown.name}: {unknown.detail}", fix="run a worker of the server's release")
    suite = suite_of(conn, run.suite, run.request["suite_digest"])
    unshown_checks = unshown(suite, [(check.name, check.verdict) for check in report.checks])
    if report.verdict == "pass":
        _check_pass(report.checks, suite, unshown_checks)
    content = report.model_dump(exclude={"fence", "base_identity", "storage_revision"})
    _insert(
        conn,
        run,
        content,
        verdict_id=verdict_id,
        created_by=created_by,
        is_complete=report.verdict == "fail" and not unshown_checks,
        made_on=report.base_identity,
    )
    if run.request.get("continues"):
        failed = [check.name for check in report.checks if check.verdict == "fail" or check.code == "undecided"]
        carry_waivers(conn, run, verdict_id, failed)
    if any(check.name == DIGESTS and check.verdict == "fail" for check in report.checks):
        # Its bytes are not what its manifest says: nobody else's version may be built of them.
        pack_queries.forget_pieces_of_version(conn, present(run.version_id))


def record_inconclusive(
    conn: sa.Connection,
    run: RunRow,
    error: str,
    *,
    verdict_id: str,
    created_by: int | None,
    code: str = "",
    others: Sequence[CheckResult] = (),
    at: int | None = None,
) -> None:
    """Insert an inconclusive verdict for a failed run, in the transaction that ends it.

    Args:
        conn: The transaction.
        run: The run, which has ended.
        error: The error that its worker reported.
        verdict_id: The id of the verdict.
        created_by: The worker's principal; None if there was none.
        code: Why it came to nothing, where that is known (`service.runs.ends`).
        others: Further checks to record.
        at: When it was found, if that was before now.
    """
    check = CheckResult(name=INFRASTRUCTURE, verdict="fail", code=code, detail=error)
    content: dict[str, object] = {
        "suite_digest": run.request["suite_digest"],
        "verifier": "",
        "dtype": "",
        "seed": 0,
        "verdict": "inconclusive",
        "base_evidence": "",
        "environment": {},
        "sandbox": "",
        "checks": [one.model_dump() for one in (check, *others)],
        **({} if at is None else {"created_at": at}),
    }
    _insert(conn, run, content, verdict_id=verdict_id, created_by=created_by)


def mark_of(row: TimeColumns) -> str:
    """Return the cursor of a row in a list that is sorted by time and id."""
    return f"{row.created_at}/{row.id}"


def _check_pass(checks: Sequence[CheckResult], suite: Suite, missing: Sequence[str]) -> None:
    names = Counter(check.name for check in checks)
    strange = sorted(names.keys() - {spec.name for spec in suite.checks})
    strange += [name for name, count in names.items() if count > 1]
    if strange:
        raise InvalidInput(
            f"this is no pass: {strange[0]!r} is not a check of suite {suite.name}, or there twice",
            fix="report each check of the suite once; run a worker of the server's release",
        )
    failed = [check.name for check in checks if check.verdict == "fail"]
    if failed or missing:
        problem = f"{failed[0]} failed" if failed else f"{missing[0]} did not run"
        raise InvalidInput(f"this is no pass: {problem}", fix="a check that did not run makes it inconclusive")


def _insert(
    conn: sa.Connection,
    run: RunRow,
    found: Mapping[str, object],
    *,
    verdict_id: str,
    created_by: int | None,
    is_complete: bool = False,
    made_on: str | None = None,
) -> None:
    version = version_queries.version_by_id(conn, present(run.version_id))
    columns = {
        "id": verdict_id,
        "run_id": run.id,
        "version_id": version.id,
        "manifest_digest": version.manifest_digest,
        "base_root": run.request.get("base_root", version.base_root),
        "suite": run.suite,
        "policy_digest": run.request.get("policy_digest", ""),
        "created_by": created_by,
    }
    compared_with = run.request.get("promoted_digest", "")
    identity = _identity_asked(conn, run, version)
    if made_on is not None:
        _check_base(conn, str(columns["base_root"]), asked=identity, made_on=made_on)
    queries.add_verdict(
        conn, {**found, **columns}, compared_with=compared_with, is_complete=is_complete, base_identity=identity
    )


def _identity_asked(conn: sa.Connection, run: RunRow, version: VersionRow) -> str:
    """Return the identity of the base that a run verifies its version on; empty if unknown."""
    identity = run.request.get("base_identity", "")
    if identity:
        return str(identity)
    if "variant" in run.request:  # queued by the release before
        name, root = run.request["variant"], run.request.get("base_root")
        base = next(iter(base_rows(conn, name=name, root=root, limit=1)), None)
    else:
        base = base_of(conn, version)
    return "" if base is None else with_identity(conn, base).identity or ""


def _check_base(conn: sa.Connection, root: str, *, asked: str, made_on: str) -> None:
    """Compare the base that a worker says it had with the one that the run is about.

    A worker of the release before does not say. It finds bases by their tensors, so if several
    share them, nobody can tell which it had.

    Raises:
        InvalidInput: The worker had another base, or it cannot be determined.
    """
    if made_on:
        if asked in {"", made_on}:
            return
        message = f"the run is about the base {asked}, the worker had {made_on}"
        raise InvalidInput(message, fix="give the worker the base that the run names")
    if asked and len(base_rows(conn, root=root, limit=2)) > 1:
        message = "several bases have these tensors, and the worker does not say on which it was made"
        raise InvalidInput(message, fix="run a worker of the server's release: deltareg version")
