"""References: the versions that a suite compares with whatever a channel serves.

A named one is of the version's own namespace, so that no verdict tells of what its readers may not
see. The best of the last few is chosen by what their verdicts of the same suite measured; what it
is then held to is measured anew, on the same samples.
"""

import json
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.verdicts import verdicts as verdict_queries
from deltareg.refs import Ref
from deltareg.service.describe import ref_of
from deltareg.suites.reference import BestOf, read_reference
from deltareg.suites.suite import CheckSpec, Suite
from deltareg.wire import ReferenceGrant

REFERENCES = "references"
"""Of a run's request: the versions that its suite compares with, as JSON."""
_LOOKED_AT = 4


def reference_request(conn: sa.Connection, version: VersionRow, suite: Suite) -> dict[str, str]:
    """Give what a run's request says of references; nothing for a suite that names none."""
    if not suite.references:
        return {}
    found = {key: _find(conn, version, suite, spec, name).to_dict() for key, (spec, name) in suite.references.items()}
    return {REFERENCES: json.dumps(found, sort_keys=True)}


def named_beside(versions: Mapping[str, VersionRow]) -> dict[str, str]:
    """Name in a run's request the versions that it is about beside its own, each by a word."""
    found = {key: {"ref": ref_of(row), "digest": row.manifest_digest} for key, row in versions.items()}
    return {REFERENCES: json.dumps(found, sort_keys=True)} if found else {}


def references_of(request: Mapping[str, str]) -> dict[str, ReferenceGrant]:
    """Read what `reference_request` gave."""
    found: dict[str, object] = json.loads(request.get(REFERENCES, "{}"))
    return {key: ReferenceGrant.model_validate(value) for key, value in found.items()}


def reference_versions(conn: sa.Connection, request: Mapping[str, str]) -> list[VersionRow]:
    """Give the versions that a run's request names as references, as far as they are there."""
    named = (Ref.parse(one.ref) for one in references_of(request).values() if one.ref)
    found = [_version(conn, ref) for ref in named]
    return [version for version in found if version is not None]


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
        case None:  # of a suite of another release
            return ReferenceGrant(why=f"{name!r} names no version")


def _grant_named(conn: sa.Connection, version: VersionRow, ref: Ref) -> ReferenceGrant:
    if ref.line.namespace != version.namespace:
        return ReferenceGrant(
            why=f"the reference {ref} is not of namespace {version.namespace}:"
            " a suite for this line names a version of it"
        )
    found = _version(conn, ref)
    if found is None or found.deleted_at is not None:
        return ReferenceGrant(why=f"there is no {ref}: let the suite name a reference that is kept")
    if found.id == version.id:
        return ReferenceGrant(why=f"{ref} is this version itself")
    return ReferenceGrant(ref=ref_of(found), digest=found.manifest_digest)


def _best(conn: sa.Connection, version: VersionRow, suite: Suite, spec: CheckSpec, wanted: BestOf) -> ReferenceGrant:
    best: tuple[float, VersionRow] | None = None
    left = wanted.count
    sign = 1 if spec.threshold is None or spec.threshold.greater_is_better else -1
    most = _LOOKED_AT * wanted.count
    for row in version_queries.version_rows(conn, version.delta_id, before=version.number, limit=most):
        if not left or row.deleted_at is not None or row.revoked_at is not None:
            continue
        verdict = verdict_queries.newest_verdict(conn, row.id, suite=suite.name)
        if verdict is None or verdict.verdict != "pass" or verdict.disputed:
            continue
        left -= 1
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
