"""Two versions of a line side by side: their manifests, and how their checks came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.queries import channels as channel_queries
from deltareg.db.queries import verdicts as verdict_queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.rows import VersionRow
from deltareg.db.session import read
from deltareg.errors import InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_plain
from deltareg.service.kept import decoded
from deltareg.service.lines.veil import veiled
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.service.verdicts.verdicts import describe_verdict
from deltareg.wire import CheckResult, VersionInfo

_CHOICES = 200
_VERDICTS = 10
Checks = Mapping[tuple[str, str], CheckResult]


@dataclass(frozen=True, slots=True)
class Side:
    """One of two versions.

    Attributes:
        version: What is shown of it.
        manifest: What it is.
        checks: By suite and name, of the newest verdict of each suite.
    """

    version: VersionInfo
    manifest: Manifest
    checks: Checks


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions, and those of the line that could be chosen instead, newest first."""

    a: Side
    b: Side
    choices: Sequence[VersionInfo]


def compare_versions(
    registry: Registry, caller: Caller, line: LineRef, *, a: int | None, b: int | None
) -> Comparison:
    """Put two versions of a line side by side; the newest and the one before it unless said.

    Raises:
        NotFound: The line has no two versions.
        InvalidInput: There is no version of that number among the newest.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line)
        rows = version_queries.version_rows(conn, delta.id, before=None, limit=_CHOICES)
        if len(rows) < 2:
            raise NotFound(f"{line} has no two versions to compare", fix=f"deltareg log {line}")
        served: dict[int, list[str]] = {}
        for pointer in channel_queries.pointers(conn, [delta.id]):
            served.setdefault(pointer.number, []).append(pointer.name)
        infos = {
            row.number: veiled(
                caller, describe_plain(row, None, channels=served.get(row.number, []))
            )
            for row in rows
        }
        later = _chosen(rows, b, rows[0])
        earlier = _chosen(
            rows, a, next((row for row in rows if row.number < later.number), rows[1])
        )
        sides = [_side(conn, row, infos[row.number]) for row in (earlier, later)]
    return Comparison(sides[0], sides[1], list(infos.values()))


def _chosen(rows: Sequence[VersionRow], number: int | None, otherwise: VersionRow) -> VersionRow:
    if number is None:
        return otherwise
    found = next((row for row in rows if row.number == number), None)
    if found is None:
        raise InvalidInput(
            f"v{number} is not among the newest {_CHOICES} versions", fix="choose another"
        )
    return found


def _side(conn: sa.Connection, row: VersionRow, info: VersionInfo) -> Side:
    manifest = decoded(row.manifest_digest, lambda: version_queries.content(conn, row.id).manifest)
    checks: dict[tuple[str, str], CheckResult] = {}
    suites: set[str] = set()
    for verdict in map(
        describe_verdict, verdict_queries.verdict_rows(conn, version_id=row.id, limit=_VERDICTS)
    ):
        if verdict.suite in suites or verdict.variant:
            continue
        suites.add(verdict.suite)
        checks |= {(verdict.suite, check.name): check for check in verdict.checks}
    return Side(info, manifest, checks)
