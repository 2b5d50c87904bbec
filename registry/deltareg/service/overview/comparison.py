"""Versions of a line side by side: their manifests, and the results of their checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import family as family_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.verdicts import verdicts as verdict_queries
from deltareg.errors import InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_plain
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.lines.veil import veil_base
from deltareg.service.overview.choices import choosable_rows
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.service.verdicts.verdicts import describe_verdict
from deltareg.wire import CheckResult, VersionInfo

Checks = Mapping[tuple[str, str], CheckResult]


@dataclass(frozen=True, slots=True)
class ComparedVersion:
    """One of the compared versions.

    Attributes:
        version: Its description.
        manifest: Its manifest.
        checks: The checks of the newest verdict of each suite, by suite and name.
    """

    version: VersionInfo
    manifest: Manifest
    checks: Checks


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Two or three versions side by side.

    Attributes:
        sides: The versions, in the requested order.
        choices: The versions of the line that could be chosen instead, newest first.
        ancestor: The newest version that all of them were made from; None if there is no other.
    """

    sides: Sequence[ComparedVersion]
    choices: Sequence[VersionInfo]
    ancestor: Ref | None


def compare_versions(
    registry: Registry, caller: Caller, line: LineRef, *, a: int | None, b: int | None, c: int | None = None
) -> VersionComparison:
    """Put versions of a line side by side; by default the newest and the one before it.

    Raises:
        NotFound: The line has fewer than two versions.
        InvalidInput: There is no version of that number, or it is deleted.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        rows = choosable_rows(conn, delta.id, also=(a, b, c))
        if a is None and rows and rows[-1].number == b:  # an old one, which is compared with the one before it
            rows += version_queries.version_rows(conn, delta.id, before=b, limit=1)
        if len(rows) < 2:
            raise NotFound(f"{line} has no two versions to compare", fix=f"deltareg log {line}")
        channels: dict[int, list[str]] = {}
        for pointer in channel_queries.pointers(conn, [delta.id]):
            channels.setdefault(pointer.number, []).append(pointer.name)
        infos = {
            row.number: veil_base(caller, describe_plain(row, None, channels=channels.get(row.number, [])))
            for row in rows
        }
        versions = _all_chosen(rows, a, b, c)
        checks = _checks(conn, versions)
        sides = [ComparedVersion(infos[row.number], _manifest(conn, row), checks.get(row.id, {})) for row in versions]
        ancestor = _ancestor(conn, caller, versions)
    return VersionComparison(sides, list(infos.values()), ancestor)


def _all_chosen(rows: Sequence[VersionRow], a: int | None, b: int | None, c: int | None) -> list[VersionRow]:
    later = _choose_version(rows, b, rows[0])
    before = next((row for row in rows if row.number < later.number), rows[1])
    versions = [_choose_version(rows, a, before), later]
    return versions if c is None else [*versions, _choose_version(rows, c, later)]


def _choose_version(rows: Sequence[VersionRow], number: int | None, otherwise: VersionRow) -> VersionRow:
    if number is None:
        return otherwise
    version = next((row for row in rows if row.number == number), None)
    if version is None:
        raise InvalidInput(f"there is no v{number}, or it is deleted", fix="choose another")
    return version


def _manifest(conn: sa.Connection, row: VersionRow) -> Manifest:
    return decode_manifest(row.manifest_digest, lambda: version_queries.content(conn, row.id).manifest)


def _checks(conn: sa.Connection, rows: Sequence[VersionRow]) -> dict[int, Checks]:
    """Return, by version, the checks of its newest verdicts on its own base."""
    by_version: dict[int, dict[tuple[str, str], CheckResult]] = {}
    suites: set[tuple[int, str]] = set()
    for row in verdict_queries.newest_verdicts(conn, [row.id for row in rows]):
        verdict = describe_verdict(row)
        if verdict.variant or (row.version_id, verdict.suite) in suites:
            continue
        suites.add((row.version_id, verdict.suite))
        checks = by_version.setdefault(row.version_id, {})
        checks |= {(verdict.suite, check.name): check for check in verdict.checks}
    return dict(by_version)


def _ancestor(conn: sa.Connection, caller: Caller, rows: Sequence[VersionRow]) -> Ref | None:
    row = family_queries.common_ancestor(conn, [row.id for row in rows])
    if row is None or row.id in {each.id for each in rows}:
        return None
    line = LineRef(row.namespace, row.line)
    return Ref(line, version=row.number) if caller.sees(line) else None
