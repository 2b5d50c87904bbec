"""The family of a version, a line or a base: what was made from what, and what serves it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sqlalchemy as sa

from deltareg.db.lines import family as queries
from deltareg.db.lines.family import FamilyOrigin
from deltareg.db.lines.family_rows import KinRow
from deltareg.db.session import read
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Base
from deltareg.service.describe import ref_of
from deltareg.service.lines import merges
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base, find_line, find_version

MOST = 5_000
STEPS = 50
BASE = "base:"
Sort = Literal["version", "delta", "base", "everything"]


@dataclass(frozen=True, slots=True)
class Relative:
    """A version among its relatives.

    Attributes:
        id: The id of its row.
        line: Its line, `ns/name`.
        number: Its number.
        kind: Its kind.
        base: The base that it is made for; empty if the caller may see none.
        stands_on: The version that became its base; None if no version did, or it is not included.
        parents: The included versions that it was made from.
        is_made: Whether it was made from any version, included or not.
        digest: The digest of its manifest.
        channels: The channels that serve it.
        is_deleted: Whether it is deleted.
        is_revoked: Whether it was revoked.
    """

    id: int
    line: str
    number: int
    kind: str
    base: str
    stands_on: int | None
    parents: tuple[int, ...]
    channels: tuple[str, ...]
    is_made: bool
    digest: str
    is_deleted: bool
    is_revoked: bool

    @property
    def ref(self) -> str:
        """Its reference, `ns/name:vN`."""
        return f"{self.line}:v{self.number}"


@dataclass(frozen=True, slots=True)
class VersionFamily:
    """Versions that descend from each other.

    Attributes:
        at: The starting point: a version, a line, `base:NAME`; empty for everything.
        sort: Which kind of starting point it is.
        focus: The version that was asked for.
        versions: The versions by row id, newest first.
        is_cut: Whether there are more than the limit.
    """

    at: str
    sort: Sort
    focus: int | None
    versions: Mapping[int, Relative]
    is_cut: bool


def show_family(registry: Registry, caller: Caller, at: str, *, up: int, down: int, limit: int = MOST) -> VersionFamily:
    """Walk from a version, a line or a base both ways, leaving out what the caller may not read.

    Args:
        registry: The database and the store.
        caller: Who looks.
        at: A reference, `ns/name`, `base:NAME`, or the name of a base, if it has no slash. Empty
            for everything.
        up: How many steps to walk towards ancestors.
        down: How many steps to walk towards descendants.
        limit: How many versions to show at most.

    Raises:
        InvalidInput: `at` is none of these, or the steps are not 0 to 50.
        NotFound: There is no such thing.
    """
    if not (0 <= up <= STEPS and 0 <= down <= STEPS):
        raise InvalidInput(f"steps must be 0 to {STEPS}, not {up} and {down}"[:200])
    with read(registry.engine) as conn:
        name, sort, origin = _origin(conn, caller, at)
        rows = queries.family(conn, origin, up=up, down=down, sight=caller.sight, limit=limit + 1)
        shown_rows = rows[:limit]
        ids = [row.id for row in shown_rows]
        parents: dict[int, list[int]] = defaultdict(list)
        for child, parent in queries.parent_edges(conn, ids):
            parents[child].append(parent)
        channels: dict[int, list[str]] = defaultdict(list)
        for served in queries.serving(conn, ids):
            channels[served.version_id].append(served.channel)
    row_ids = set(ids)
    bases = _Bases(caller)
    relatives = {
        row.id: Relative(
            row.id,
            f"{row.namespace}/{row.line}",
            row.number,
            row.kind,
            bases.find_name(row),
            row.stands_on if row.stands_on in row_ids else None,
            tuple(parent for parent in parents[row.id] if parent in row_ids),
            tuple(channels[row.id]),
            bool(parents[row.id]),
            row.manifest_digest,
            row.deleted_at is not None,
            row.revoked_at is not None,
        )
        for row in shown_rows
    }
    begun = {row.id for row in shown_rows if _is_begun(row, name, sort, origin)}
    retained = begun | _walk_relatives(relatives, begun, steps=up, is_up=True)
    retained |= _walk_relatives(relatives, begun, steps=down, is_up=False)
    versions = {row_id: _among(relative, retained) for row_id, relative in relatives.items() if row_id in retained}
    return VersionFamily(name, sort, origin.version_id, versions, len(rows) > limit)


def merges_among(registry: Registry, versions: Iterable[Relative]) -> frozenset[int]:
    """Return the row ids of those versions that are merges, even of a single parent."""
    merge_digests = {one.id: one.digest for one in versions if one.is_made}
    if not merge_digests:
        return frozenset()
    with read(registry.engine) as conn:
        return merges.merges_among(conn, merge_digests)


class _Bases:
    """Which names of bases the caller may see; each is checked once."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._known: dict[str, bool] = {}

    def find_name(self, row: KinRow) -> str:
        """Return the name of a version's base; empty if it has none that the caller may see."""
        name = row.base_name
        if name is None:
            return ""
        if name not in self._known:
            self._known[name] = self._caller.may(Right.READ, on=Base(name))
        return name if self._known[name] else ""


def _origin(conn: sa.Connection, caller: Caller, at: str) -> tuple[str, Sort, FamilyOrigin]:
    if not at:
        caller.require(Right.READ, on=SOMEWHERE)
        return "", "everything", FamilyOrigin()
    name = at.removeprefix(BASE)
    if at.startswith(BASE) or "/" not in at:
        base = Base(name)
        if not base.is_version:
            caller.require(Right.READ, on=base)
            row = find_base(conn, caller, name)
            return BASE + row.name, "base", FamilyOrigin(base_id=row.id)
    ref = Ref.parse(name)
    caller.require(Right.READ, on=ref.line)
    if ref.is_bare:
        line = find_line(conn, caller, ref.line)
        return str(ref.line), "delta", FamilyOrigin(delta_id=line.id)
    version = find_version(conn, caller, ref, bare="newest")
    return ref_of(version), "version", FamilyOrigin(version_id=version.id)


def _is_begun(row: KinRow, name: str, sort: Sort, origin: FamilyOrigin) -> bool:
    match sort:
        case "version":
            return row.id == origin.version_id
        case "delta":
            return LineRef(row.namespace, row.line) == LineRef.parse(name) and not row.deleted_at
        case "base":
            return row.base_name == name.removeprefix(BASE) and not row.deleted_at
        case "everything":
            return True


def _walk_relatives(relatives: Mapping[int, Relative], begun: Iterable[int], *, steps: int, is_up: bool) -> set[int]:
    """Walk the visible relatives only; on the way to children, skip deleted versions."""
    following: dict[int, Sequence[int]] = {}
    if is_up:
        following = {row_id: _before(one) for row_id, one in relatives.items()}
    else:
        below: dict[int, list[int]] = defaultdict(list)
        for row_id, one in relatives.items():
            for parent in _before(one) if not one.is_deleted else ():
                below[parent].append(row_id)
        following = dict(below)
    reached, frontier = set(begun), list(begun)
    for _ in range(steps):
        frontier = list({other for row_id in frontier for other in following.get(row_id, ())} - reached)
        reached.update(frontier)
    return reached


def _before(relative: Relative) -> tuple[int, ...]:
    below = relative.stands_on
    return relative.parents if below is None else (*relative.parents, below)


def _among(relative: Relative, kept: set[int]) -> Relative:
    """Remove from a relative the parents that are not shown."""
    below = relative.stands_on
    parents = tuple(parent for parent in relative.parents if parent in kept)
    if len(parents) == len(relative.parents) and (below is None or below in kept):
        return relative
    return replace(relative, parents=parents, stands_on=below if below in kept else None)
