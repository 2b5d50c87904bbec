"""Where a version comes from and what was made from it: up to the base, down to its children."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import sqlalchemy as sa

from deltareg.db.bases import stacks
from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.errors import InvalidInput
from deltareg.identity.lineage import Edge, walk
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.describe import ref_of
from deltareg.service.lines.merges import is_merge
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base, find_version
from deltareg.wire import LineageAnswer, LineageEdge

_MAX_DEPTH = 50
_MOST_ON_BASE = 200


def show_lineage(registry: Registry, caller: Caller, ref: Ref, *, depth: int) -> LineageAnswer:
    """Walk the edges to parents, bases and children, leaving out what the caller may not read.

    Raises:
        InvalidInput: The depth is not 1 to 50.
    """
    caller.require(Right.READ, on=ref.line)
    if not 1 <= depth <= _MAX_DEPTH:
        raise InvalidInput(f"depth must be 1 to {_MAX_DEPTH}, not {depth}")
    with read(registry.engine) as conn:
        row = find_version(conn, caller, ref, bare="newest")
        start = ref_of(row)
        walked = _Seen(conn, caller, {start: row})
        up = walk(start, walked.parents, up=True, depth=depth)
        down = walk(start, walked.children, up=False, depth=depth)
    return LineageAnswer(ref=start, up=_show(up), down=_show(down))


def show_base_lineage(registry: Registry, caller: Caller, name: str, *, depth: int) -> LineageAnswer:
    """Walk down from a base to the newest versions on it, and to what was made from them.

    Raises:
        InvalidInput: The depth is not 1 to 50.
        NotFound: The caller sees no base of that name.
    """
    caller.require(Right.READ, on=Base(name))
    if not 1 <= depth <= _MAX_DEPTH:
        raise InvalidInput(f"depth must be 1 to {_MAX_DEPTH}, not {depth}")
    with read(registry.engine) as conn:
        base = find_base(conn, caller, name)
        start = f"base:{base.name}"
        walked = _Seen(conn, caller, {}, base_ids={start: base.id})
        down = walk(start, walked.children, up=False, depth=depth)
    return LineageAnswer(ref=start, up=[], down=_show(down))


class _Seen:
    """The versions that a walk has met, so that none is looked up twice."""

    def __init__(
        self,
        conn: sa.Connection,
        caller: Caller,
        rows: dict[str, VersionRow],
        *,
        base_ids: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._conn, self._caller, self._rows, self._base_ids = conn, caller, rows, base_ids

    def parents(self, node: str) -> list[Edge]:
        """Return the edges from a version to its parents and its base."""
        if node.startswith("base:"):
            return []
        row = self._row(node)
        parents = self._note(queries.parents_of(self._conn, row.id))
        relation = _relation(self._conn, row) if parents else ""
        edges = [Edge(node, parent, relation) for parent in parents]
        if row.base_name is not None:
            is_version = Base(row.base_name).is_version
            below = row.base_name if is_version else f"base:{row.base_name}"
            edges.append(Edge(node, below, "base"))
        return [edge for edge in edges if _is_readable(self._caller, edge.parent)]

    def children(self, node: str) -> list[Edge]:
        """Return the edges from versions made of this one, or standing on it."""
        base_id = self._base_ids.get(node)
        if base_id is not None:
            on_it = queries.versions_on(self._conn, base_id, sight=self._caller.sight, limit=_MOST_ON_BASE)
            return [Edge(ref, node, "base") for ref in self._note(on_it)]
        row = self._row(node)
        children = queries.children_of(self._conn, row.id)
        edges = [
            Edge(ref, node, _relation(self._conn, child))
            for ref, child in zip(self._note(children), children, strict=True)
        ]
        above = self._note(stacks.stacked_on(self._conn, row.id))
        edges += [Edge(child, node, "base") for child in above]
        return [edge for edge in edges if _is_readable(self._caller, edge.child)]

    def _row(self, node: str) -> VersionRow:
        row = self._rows.get(node)
        if row is None:
            row = find_version(self._conn, self._caller, Ref.parse(node), bare="newest")
            self._rows[node] = row
        return row

    def _note(self, rows: Sequence[VersionRow]) -> list[str]:
        by_ref = {ref_of(row): row for row in rows}
        self._rows |= by_ref
        return [ref_of(row) for row in rows]


def _is_readable(caller: Caller, node: str) -> bool:
    if node.startswith("base:"):
        return caller.may(Right.READ, on=Base(node.removeprefix("base:")))
    return caller.may(Right.READ, on=Ref.parse(node).line)


def _relation(conn: sa.Connection, child: VersionRow) -> str:
    """Return how a version was made from its parents."""
    return "merged from" if is_merge(conn, child) else "parent"


def _show(edges: list[Edge]) -> list[LineageEdge]:
    return [LineageEdge(child=e.child, parent=e.parent, relation=e.relation) for e in edges]
