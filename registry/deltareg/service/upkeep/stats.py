"""What is stored and what was saved by which means, consistent with the bytes in the store.

Every byte of a pack, its framing included, belongs to the oldest live version or base that needs
the pack; for any other that needs it, it counts as saved by dedup (docs/design.md, Stored form). What
lines store is kept; what changed since is settled before it is read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.db.quotas.recount import live_pack_bytes
from deltareg.db.session import read
from deltareg.db.storage.rows import HolderRow, LooseKeyRow
from deltareg.db.storage.settling import has_changes
from deltareg.db.upkeep import stats as queries
from deltareg.db.upkeep.stats import StatsScope
from deltareg.errors import NotFound
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import EVERYTHING, Namespace, Resource
from deltareg.service.describe import ref_of
from deltareg.service.paging import check_limit
from deltareg.service.registry import BASES, Caller, Registry, namespace_scope
from deltareg.service.resolve import find_line, find_version
from deltareg.service.upkeep.settling import settle_storage
from deltareg.store import BlobStore
from deltareg.wire import StorageFigures, StorageReport, StorageRow, StoreBytes
from deltareg.words import StorageView

PartOf = Literal["namespace", "bases", "line", "version", "base", "kind"]
Key = tuple[PartOf, str]
CountName = Literal[
    "versions",
    "bases",
    "logical_bytes",
    "pack_bytes",
    "manifest_bytes",
    "map_bytes",
    "saved_by_references",
    "saved_by_dedup",
    "saved_by_entropy",
    "unchanged_bytes",
    "framing_bytes",
    "garbage_bytes",
    "upload_bytes",
]
Counts = dict[CountName, int]
Name = TypeVar("Name", bound=str | Key)
_ATTEMPTS = 4
"""How often what changed is settled before figures are given that lag by what is being pushed."""


def show_storage(registry: Registry, caller: Caller, of: str | LineRef | Ref | None, *, limit: int) -> StorageReport:
    """Show storage figures of everything, a namespace (by name), a line or a version.

    Raises:
        NotFound: There is nothing of that name, or the version is deleted.
    """
    caller.require(Right.READ, on=_resource(of))
    check_limit(limit)
    snapshot = _look_settled(registry, caller, of, limit)
    _weigh_loose(registry.store, snapshot)
    return _report(snapshot, limit)


@dataclass(frozen=True, slots=True)
class _Found:
    """The figures of one snapshot of the database, while they are added up.

    Attributes:
        view: The requested view.
        name: Its name.
        parts: Figures by part.
        kinds: Figures by kind.
        beside: By scope, the figures of what lies in the store beside needed packs.
        loose: Keys of objects that may exist and are no live packs.
    """

    view: StorageView
    name: str
    loose: Sequence[LooseKeyRow] = ()
    parts: dict[Key, Counts] = field(default_factory=dict)
    kinds: dict[Key, Counts] = field(default_factory=dict)
    beside: dict[str, Counts] = field(default_factory=dict)


def _look_settled(registry: Registry, caller: Caller, of: str | LineRef | Ref | None, limit: int) -> _Found:
    """Read a snapshot in which nothing waits to be settled, or the last of some."""
    attempts = _ATTEMPTS
    while True:
        with read(registry.engine) as conn:
            is_settled = not has_changes(conn)
            if is_settled or not attempts:
                return _look(conn, caller, of, limit)
        # Who looks for room has to be told of what is there, also where nothing can be written.
        attempts = attempts - 1 if settle_storage(registry.engine) else 0


def _look(conn: sa.Connection, caller: Caller, of: str | LineRef | Ref | None, limit: int) -> _Found:
    """Read one snapshot."""
    view, name, part = _part(conn, caller, of)
    has_store = view in {"registry", "namespace"}
    loose = queries.loose_keys(conn, part.scope) if has_store else ()
    snapshot = _Found(view, name, loose)
    for row in [*_version_rows(conn, part, view), *queries.base_rows(conn, part)]:
        figures = _figures(row)
        _add(snapshot.kinds, ("kind", row.kind), figures)
        _add(snapshot.beside, _scope(row), {"garbage_bytes": -row.pack_bytes})
        if row.is_base or view != "line":
            _add(snapshot.parts, _key(view, row), figures)
    if part.delta_id is not None and view == "line":
        for row in queries.largest_versions(conn, part.delta_id, limit=limit):
            _add(snapshot.parts, _key(view, row), _figures(row))
    # The first push into a namespace makes it when it is complete; until then it has loose keys.
    is_empty = view == "namespace" and not snapshot.parts
    is_absent = is_empty and delta_queries.namespace_id(conn, name) is None
    if is_absent and not (loose and caller.may(Right.READ, on=EVERYTHING)):
        raise absent(Namespace(name))
    for scope, size in live_pack_bytes(conn).items() if has_store else ():
        if part.scope in {None, scope}:
            _add(snapshot.beside, scope, {"garbage_bytes": size})
    return snapshot


def _version_rows(conn: sa.Connection, part: StatsScope, view: StorageView) -> Sequence[HolderRow]:
    """Return what versions store: one, or all of a line, a namespace or everything by kind."""
    if part.version_id is not None:
        return queries.version_row(conn, part.version_id)
    return queries.line_rows(conn, part, by_line=view != "registry")


def _resource(of: str | LineRef | Ref | None) -> Resource:
    if of is None:
        return EVERYTHING
    if isinstance(of, str):
        return Namespace(of)
    return of if isinstance(of, LineRef) else of.line


def _part(conn: sa.Connection, caller: Caller, of: str | LineRef | Ref | None) -> tuple[StorageView, str, StatsScope]:
    if of is None:
        return "registry", "", StatsScope()
    if isinstance(of, str):
        return "namespace", of, StatsScope(namespace_scope(of))
    if isinstance(of, LineRef):
        line = find_line(conn, caller, of)
        return "line", str(of), StatsScope(namespace_scope(of.namespace), line.id)
    row = find_version(conn, caller, of, bare="newest")
    if row.deleted_at is not None:
        raise NotFound(f"{ref_of(row)} is deleted", fix="deltareg gc plan")
    scope = namespace_scope(row.namespace)
    return "version", ref_of(row), StatsScope(scope, row.delta_id, row.id)


def _key(view: StorageView, row: HolderRow) -> Key:
    if row.namespace is None:
        return "bases", BASES
    if view == "registry":
        return "namespace", row.namespace
    if view == "namespace":
        return "line", f"{row.namespace}/{row.line}"
    return "base" if row.is_base else "version", ref_of(row)


def _figures(row: HolderRow) -> Counts:
    """Split the logical bytes of holders into what they store and what they save."""
    own = row.referenced_bytes + row.alone_bytes
    return {
        "versions": 0 if row.is_base else row.holders,
        "bases": row.holders if row.is_base else 0,
        "logical_bytes": row.logical_bytes,
        "pack_bytes": row.pack_bytes,
        "manifest_bytes": row.manifest_bytes,
        "map_bytes": row.map_bytes,
        "saved_by_references": row.referenced_bytes - row.referenced_payload,
        "saved_by_dedup": row.logical_bytes - own,
        "saved_by_entropy": row.alone_bytes - row.alone_payload,
        "unchanged_bytes": row.logical_bytes - own - row.shared_bytes,
        "framing_bytes": row.pack_bytes - row.referenced_payload - row.alone_payload,
    }


def _weigh_loose(store: BlobStore, found: _Found) -> None:
    """Add the objects that are no live packs; one that is gone counts no bytes."""
    for row in found.loose:
        size = store.size(row.physical_key) if row.size_bytes is None else row.size_bytes
        name: CountName = "upload_bytes" if row.is_open else "garbage_bytes"
        _add(found.beside, row.scope, {name: size or 0})


def _report(found: _Found, limit: int) -> StorageReport:
    total = _sum(found.kinds.values())
    parts = {key: dict(counts) for key, counts in found.parts.items()}
    if found.view == "registry":
        for scope, counts in found.beside.items():
            _add(parts, _part_of_scope(scope), {"garbage_bytes": 0, "upload_bytes": 0, **counts})
    return StorageReport(
        of=found.view,
        name=found.name,
        total=_show_figures(total),
        store=_store(total, found) if found.view in {"registry", "namespace"} else None,
        parts=list(_rows(parts, limit, _left_out(found, total))),
        kinds=list(_rows(found.kinds, len(found.kinds), {})),
    )


def _left_out(found: _Found, total: Counts) -> Counts:
    """Return the figures of those of a line's versions that were not looked at one by one; empty if all were."""
    if found.view != "line":
        return {}
    shown = _sum(found.parts.values())
    rest: Counts = {name: count - shown.get(name, 0) for name, count in total.items()}
    return rest if rest.get("versions") else {}


def _store(total: Counts, found: _Found) -> StoreBytes:
    counts = _sum(found.beside.values())
    packs = total.get("pack_bytes", 0)
    garbage, uploads = counts.get("garbage_bytes", 0), counts.get("upload_bytes", 0)
    return StoreBytes(
        pack_bytes=packs, garbage_bytes=garbage, upload_bytes=uploads, total_bytes=packs + garbage + uploads
    )


def _rows(parts: Mapping[Key, Counts], limit: int, left_out: Counts) -> Iterator[StorageRow]:
    """Yield the largest parts, and all others as one row."""
    largest = sorted(parts, key=lambda key: (-parts[key].get("pack_bytes", 0), key))
    for key in largest[:limit]:
        yield _row(key[0], key[1], parts[key])
    rest = largest[limit:]
    number = len(rest) + left_out.get("versions", 0)
    if number:
        yield _row("rest", str(number), _sum([*(parts[key] for key in rest), left_out]))


def _row(of: PartOf | Literal["rest"], name: str, counts: Counts) -> StorageRow:
    return StorageRow(
        **dict(_show_figures(counts)),
        of=of,
        name=name,
        garbage_bytes=counts.get("garbage_bytes"),
        upload_bytes=counts.get("upload_bytes"),
    )


def _show_figures(counts: Counts) -> StorageFigures:
    of = Counter(counts)
    total = of["pack_bytes"] + of["manifest_bytes"] + of["map_bytes"]
    return StorageFigures(
        versions=of["versions"],
        bases=of["bases"],
        logical_bytes=of["logical_bytes"],
        pack_bytes=of["pack_bytes"],
        manifest_bytes=of["manifest_bytes"],
        map_bytes=of["map_bytes"],
        ratio=of["logical_bytes"] / total if total else None,
        saved_by_references=of["saved_by_references"],
        saved_by_dedup=of["saved_by_dedup"],
        saved_by_entropy=of["saved_by_entropy"],
        unchanged_bytes=of["unchanged_bytes"],
        framing_bytes=of["framing_bytes"],
    )


def _scope(row: HolderRow) -> str:
    return BASES if row.namespace is None else namespace_scope(row.namespace)


def _part_of_scope(scope: str) -> Key:
    return ("bases", BASES) if scope == BASES else ("namespace", scope.removeprefix("ns:"))


def _add(sums: dict[Name, Counts], key: Name, counts: Counts) -> None:
    into = sums.setdefault(key, {})
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count


def _sum(counts: Iterable[Counts]) -> Counts:
    sums: dict[str, Counts] = {"": {}}
    for one in counts:
        _add(sums, "", one)
    return sums[""]
