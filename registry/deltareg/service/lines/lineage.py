"""Where a version comes from and what came from it, up to the base and down to its children."""

import sqlalchemy as sa

from deltareg.db.queries import stacks
from deltareg.db.queries import versions as queries
from deltareg.db.rows import VersionRow
from deltareg.db.session import read
from deltareg.delta.merge.recipe import RECIPE_FILE
from deltareg.errors import InvalidInput
from deltareg.identity.lineage import Edge, walk
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.describe import ref_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.wire import LineageAnswer, LineageEdge

_MAX_DEPTH = 50


def show_lineage(registry: Registry, caller: Caller, ref: Ref, *, depth: int) -> LineageAnswer:
    """Walk the edges to parents and bases both ways; what the caller may not read is left out.

    Raises:
        InvalidInput: The depth is not 1 to 50.
    """
    caller.require(Right.READ, on=ref.line)
    if not 1 <= depth <= _MAX_DEPTH:
        raise InvalidInput(f"depth must be 1 to {_MAX_DEPTH}, not {depth}")
    with read(registry.engine) as conn:
        start = ref_of(find_version(conn, caller, ref, bare="newest"))
        up = walk(start, lambda node: _parents(conn, caller, node), up=True, depth=depth)
        down = walk(start, lambda node: _children(conn, caller, node), up=False, depth=depth)
    return LineageAnswer(ref=start, up=_show(up), down=_show(down))


def _parents(conn: sa.Connection, caller: Caller, node: str) -> list[Edge]:
    if node.startswith("base:"):
        return []
    row = find_version(conn, caller, Ref.parse(node), bare="newest")
    parents, relation = queries.parents_of(conn, row.id), _relation(conn, row)
    edges = [Edge(node, ref_of(parent), relation) for parent in parents]
    if row.base_name is not None:
        is_version = Base(row.base_name).is_version
        edges.append(Edge(node, row.base_name if is_version else f"base:{row.base_name}", "base"))
    return [edge for edge in edges if _is_readable(caller, edge.parent)]


def _children(conn: sa.Connection, caller: Caller, node: str) -> list[Edge]:
    row = find_version(conn, caller, Ref.parse(node), bare="newest")
    made = [Edge(ref_of(c), node, _relation(conn, c)) for c in queries.children_of(conn, row.id)]
    made += [Edge(ref_of(child), node, "base") for child in stacks.stacked_on(conn, row.id)]
    return [edge for edge in made if _is_readable(caller, edge.child)]


def _is_readable(caller: Caller, node: str) -> bool:
    if node.startswith("base:"):
        return caller.may(Right.READ, on=Base(node.removeprefix("base:")))
    return caller.may(Right.READ, on=Ref.parse(node).line)


def _relation(conn: sa.Connection, child: VersionRow) -> str:
    """Say how a version was made from its parents: a merge carries its recipe."""
    manifest = Manifest.decode(queries.content(conn, child.id).manifest)
    return "merged from" if any(f.path == RECIPE_FILE for f in manifest.files) else "parent"


def _show(edges: list[Edge]) -> list[LineageEdge]:
    return [LineageEdge(child=e.child, parent=e.parent, relation=e.relation) for e in edges]
