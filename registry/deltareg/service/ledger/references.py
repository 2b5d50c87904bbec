"""References: the versions that a suite compares with, whatever a channel serves.

A named reference is in the version's own namespace, so that no verdict reveals what its readers may
not see. The best of the last few versions is chosen by the measures of their verdicts of the same
suite, the best that a channel has served by its ledger; for the comparison either is measured anew,
on the same samples.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.verdicts import verdicts as verdict_queries
from deltareg.refs import Ref
from deltareg.service.describe import ref_of
from deltareg.service.ledger.best import find_best, read_history
from deltareg.service.ledger.incumbent import DEFAULT_CHANNEL
from deltareg.service.ledger.references_document import references_of as references_of
from deltareg.service.ledger.references_document import write_references
from deltareg.suites.reference import IS_ITSELF, Best, BestOf, read_reference
from deltareg.suites.suite import CheckSpec, Suite
from deltareg.wire import ReferenceGrant

_LOOKED_AT = 4


def reference_request(conn: sa.Connection, version: VersionRow, suite: Suite, *, channel: str | None) -> dict[str, str]:
    """Return the references as entries of a run's request; none for a suite that names none.

    Args:
        conn: A transaction.
        version: The version that is to be verified.
        suite: The suite.
        channel: The channel whose best it may be held against; None for the default.
    """
    row = None
    if suite.held_to_best:
        row = channel_queries.channel_row(conn, version.delta_id, channel or DEFAULT_CHANNEL)
    bests = {} if row is None else best_of_channel(conn, version, suite, channel_id=row.id)
    found = {
        key: bests[key] if key in bests else _find(conn, version, suite, spec, name)
        for key, (spec, name) in suite.references.items()
    }
    return write_references(found)


def best_of_channel(
    conn: sa.Connection, version: VersionRow, suite: Suite, *, channel_id: int
) -> dict[str, ReferenceGrant]:
    """Return what a channel holds a version against as the best, by the key of each such check."""
    specs = suite.held_to_best
    if not specs:
        return {}
    history = read_history(conn, version, channel_id=channel_id, suite=suite.name)
    bests = {key: find_best(history, spec, but=version.manifest_digest) for key, spec in specs.items()}
    nothing = ReferenceGrant(why=f"the channel has served no other version by suite {suite.name} yet")
    return {
        key: nothing if best is None else ReferenceGrant(ref=ref_of(best), digest=best.manifest_digest)
        for key, best in bests.items()
    }


def named_beside(versions: Mapping[str, VersionRow]) -> dict[str, str]:
    """Return other versions that a run is about as entries of its request, each under a word."""
    return write_references(
        {key: ReferenceGrant(ref=ref_of(row), digest=row.manifest_digest) for key, row in versions.items()}
    )


def reference_versions(conn: sa.Connection, request: Mapping[str, str]) -> list[VersionRow]:
    """Return the versions that a run's request names as references, those that still exist."""
    refs = (Ref.parse(one.ref) for one in references_of(request).values() if one.ref)
    versions = [_version(conn, ref) for ref in refs]
    return [version for version in versions if version is not None]


def _version(conn: sa.Connection, ref: Ref) -> VersionRow | None:
    line = delta_queries.delta_row(conn, ref.line.namespace, ref.line.name)
    if line is None:
        return None
    return version_queries.find_version(conn, line.id, number=ref.version)


def _find(conn: sa.Connection, version: VersionRow, suite: Suite, spec: CheckSpec, name: str) -> ReferenceGrant:
    match read_reference(name):
        case BestOf() as wanted:
            return _best(conn, version, suite, spec, wanted)
        case Ref() as ref:
            return _grant_named(conn, version, ref)
        case Best():
            return ReferenceGrant(why="the line has no such channel")
        case None:  # of a suite of another release
            return ReferenceGrant(why=f"{name!r} names no version")


def _grant_named(conn: sa.Connection, version: VersionRow, ref: Ref) -> ReferenceGrant:
    if ref.line.namespace != version.namespace:
        return ReferenceGrant(
            why=f"the reference {ref} is not of namespace {version.namespace}:"
            " a suite for this line names a version of it"
        )
    named_version = _version(conn, ref)
    if named_version is None or named_version.deleted_at is not None:
        return ReferenceGrant(why=f"there is no {ref}: let the suite name a reference that is kept")
    if named_version.id == version.id:
        return ReferenceGrant(why=f"{ref} {IS_ITSELF}")
    return ReferenceGrant(ref=ref_of(named_version), digest=named_version.manifest_digest)


def _best(conn: sa.Connection, version: VersionRow, suite: Suite, spec: CheckSpec, wanted: BestOf) -> ReferenceGrant:
    best: tuple[float, VersionRow] | None = None
    remaining = wanted.count
    sign = 1 if spec.threshold is None or spec.threshold.greater_is_better else -1
    most = _LOOKED_AT * wanted.count
    for row in version_queries.version_rows(conn, version.delta_id, before=version.number, limit=most):
        if not remaining or row.deleted_at is not None or row.revoked_at is not None:
            continue
        verdict = verdict_queries.newest_verdict(conn, row.id, suite=suite.name)
        if verdict is None or verdict.verdict != "pass" or verdict.disputed:
            continue
        remaining -= 1
        value = _value(verdict.checks, spec.name)
        if value is not None and (best is None or sign * value > best[0]):
            best = sign * value, row
    if best is None:
        return ReferenceGrant(why=f"none of the last {most} versions of this line has passed suite {suite.name} yet")
    return ReferenceGrant(ref=ref_of(best[1]), digest=best[1].manifest_digest)


def _value(checks: Sequence[Mapping[str, object]], name: str) -> float | None:
    for check in checks:
        value = check.get("value") if check.get("name") == name else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None
