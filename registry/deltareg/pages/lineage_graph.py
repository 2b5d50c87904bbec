"""Relatives as a graph that stays readable: lines are drawn together, alike nodes folded into one.

A line that is not opened is one node, cut in two if the version in question lies in between. Nodes
made from the same, and of which the same was made, are folded if there are many, except for the
first: those that serve, then the newest. A version stands on the base of its parents unless an
arrow says otherwise.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deltareg.service.overview.family import BASE, Relative, VersionFamily
from deltareg.wire import Answer

SINGLE_MOST = 60
"""How many versions of an opened line are drawn by themselves; the older ones are one node."""

NodeSort = Literal["base", "line", "version", "channel", "more"]
Relation = Literal["base", "parent", "serves"]


class LineageNode(Answer):
    """A base, versions of a line, a channel, or the number of more nodes like those beside it.

    `first` and `last` are the numbers of its versions, and `versions` counts them; `of_sort` is the
    sort of the nodes that are folded. `parents` counts the parents that are seen here.
    """

    key: str
    sort: NodeSort
    of_sort: NodeSort
    line: str = ""
    name: str
    first: int | None = None
    last: int | None = None
    versions: int = 0
    parents: int = 0
    is_merge: bool = False
    kind: str = ""
    is_here: bool = False
    is_deleted: bool = False
    is_revoked: bool = False


class LineageArrow(Answer):
    """What came before, what was made from it, and how; `serves` leads to a channel."""

    start: str
    end: str
    relation: Relation


@dataclass(frozen=True, slots=True)
class GraphSelection:
    """Which relatives are drawn by themselves.

    Attributes:
        opened: Lines whose versions are drawn one by one.
        is_all: Whether every version is drawn by itself, and nothing is folded.
        most: How many alike nodes are drawn before the rest is folded.
    """

    opened: frozenset[str] = frozenset()
    is_all: bool = False
    most: int = 12


@dataclass(slots=True)
class _Unit:
    """Versions of a line that are drawn as one node."""

    node: LineageNode
    newest: int
    oldest: int
    bases: set[str]
    channels: dict[str, int]


def draw_together(family: VersionFamily, shown: GraphSelection) -> tuple[list[LineageNode], list[LineageArrow]]:
    """Return the nodes and arrows of a family's graph."""
    units, unit_of = _units(family, shown)
    arrows = _arrows(family, units, unit_of)
    nodes = {key: unit.node for key, unit in units.items()}
    for arrow in arrows:
        if arrow.relation == "base" and arrow.start not in nodes:
            nodes[arrow.start] = _base_node(arrow.start, family)
    if family.sort == "base":
        nodes.setdefault(family.at, _base_node(family.at, family))
    bases = {key: node for key, node in nodes.items() if node.sort == "base"}
    nodes = {**bases, **nodes}  # what was there before anything else comes first
    if not shown.is_all:
        nodes, arrows = _fold_alike(nodes, arrows, units, most=shown.most)
    return _with_channels(nodes, arrows, units)


def _units(family: VersionFamily, shown: GraphSelection) -> tuple[dict[str, _Unit], dict[int, str]]:
    lines: dict[str, list[Relative]] = defaultdict(list)
    for relative in family.versions.values():
        lines[relative.line].append(relative)
    units: dict[str, _Unit] = {}
    unit_of: dict[int, str] = {}
    here = {family.at} if family.sort == "delta" else set[str]()
    for line, relatives in lines.items():
        relatives.sort(key=lambda one: one.number)
        for part in _parts(relatives, family.focus, shown, is_open=line in shown.opened | here):
            unit = _unit(line, part, family, is_whole=len(part) == len(relatives) > 1)
            units[unit.node.key] = unit
            unit_of.update((one.id, unit.node.key) for one in part)
    return units, unit_of


def _parts(
    relatives: Sequence[Relative], focus: int | None, shown: GraphSelection, *, is_open: bool
) -> Iterator[Sequence[Relative]]:
    """Split a line into the parts that are each drawn as one node."""
    singles = {focus} if focus is not None else set[int]()
    if shown.is_all:
        singles |= {one.id for one in relatives}
    elif is_open:
        singles |= {one.id for one in relatives[-SINGLE_MOST:]}
    run: list[Relative] = []
    for one in relatives:
        if one.id in singles:
            if run:
                yield run
            yield [one]
            run = []
        else:
            run.append(one)
    if run:
        yield run


def _unit(line: str, part: Sequence[Relative], family: VersionFamily, *, is_whole: bool) -> _Unit:
    first, last = part[0], part[-1]
    is_one = len(part) == 1
    key = first.ref if is_one else (line if is_whole else f"{first.ref}-v{last.number}")
    node = LineageNode(
        key=key,
        sort="version" if is_one else "line",
        of_sort="version" if is_one else "line",
        line=line,
        name=first.ref if is_one else line,
        first=first.number,
        last=last.number,
        versions=len(part),
        parents=len(first.parents) if is_one else 0,
        kind=first.kind if is_one else "",
        is_here=is_one and first.id == family.focus,
        is_deleted=is_one and first.is_deleted,
        is_revoked=is_one and first.is_revoked,
    )
    return _Unit(
        node,
        newest=max(one.id for one in part),
        oldest=min(one.id for one in part),
        bases={_base_key(one.base) for one in part if one.base and one.stands_on is None},
        channels={name: one.number for one in part for name in one.channels},
    )


def _base_key(name: str) -> str:
    return name if ":" in name else BASE + name


def _base_node(key: str, family: VersionFamily) -> LineageNode:
    name = key.removeprefix(BASE)
    return LineageNode(
        key=key,
        sort="base",
        of_sort="base",
        name=name,
        is_here=key == family.at,
        line=name.partition(":")[0] if ":" in name else "",
    )


def _arrows(family: VersionFamily, units: Mapping[str, _Unit], unit_of: Mapping[int, str]) -> list[LineageArrow]:
    relations: dict[tuple[str, str], Relation] = {}
    covered: dict[str, set[str]] = defaultdict(set)
    for one in family.versions.values():
        end = unit_of[one.id]
        for parent in one.parents:
            start = unit_of[parent]
            relations.setdefault((start, end), "parent")
            if units[start].oldest < units[end].oldest:  # or two lines would vouch for each other
                covered[end] |= units[start].bases
        if one.stands_on is not None:
            relations.setdefault((unit_of[one.stands_on], end), "base")
    for key, unit in units.items():
        for base in sorted(unit.bases - covered[key]):
            relations.setdefault((base, key), "base")
    return [
        LineageArrow(start=start, end=end, relation=relation)
        for (start, end), relation in relations.items()
        if start != end
    ]


def _fold_alike(
    nodes: dict[str, LineageNode], arrows: Sequence[LineageArrow], units: Mapping[str, _Unit], *, most: int
) -> tuple[dict[str, LineageNode], list[LineageArrow]]:
    """Fold nodes of one sort with the same neighbours into one, beyond the first `most`."""
    before: dict[str, set[str]] = defaultdict(set)
    after: dict[str, set[str]] = defaultdict(set)
    for arrow in arrows:
        before[arrow.end].add(arrow.start)
        after[arrow.start].add(arrow.end)
    alike: dict[object, list[str]] = defaultdict(list)
    for key, node in nodes.items():
        if not node.is_here:
            sort = "base" if node.sort == "base" else "version"
            alike[sort, frozenset(before[key]), frozenset(after[key])].append(key)
    into: dict[str, str] = {}
    remaining = dict(nodes)
    for number, keys in enumerate(alike.values()):
        keys.sort(key=lambda key: _weight(key, units))
        rest = keys[most:] if len(keys) > most + 1 else []
        for key in rest:
            into[key] = f"more-{number}"
            del remaining[key]
        if rest:
            remaining[f"more-{number}"] = _more(f"more-{number}", [nodes[key] for key in rest])
    redirected: dict[tuple[str, str], Relation] = {
        (into.get(arrow.start, arrow.start), into.get(arrow.end, arrow.end)): arrow.relation for arrow in arrows
    }
    return remaining, [
        LineageArrow(start=start, end=end, relation=relation)
        for (start, end), relation in redirected.items()
        if start in remaining and end in remaining and start != end
    ]


def _weight(key: str, units: Mapping[str, _Unit]) -> tuple[bool, int, str]:
    unit = units.get(key)
    return (True, 0, key) if unit is None else (not unit.channels, -unit.newest, key)


def _more(key: str, rest: Sequence[LineageNode]) -> LineageNode:
    sorts = {node.sort for node in rest}
    of_sort: NodeSort = rest[0].sort if len(sorts) == 1 else "line"
    name = {"base": "bases", "version": "versions"}.get(of_sort, "deltas")
    if of_sort == "version" and len({node.line for node in rest}) == len(rest):
        name = "deltas"
    return LineageNode(
        key=key,
        sort="more",
        of_sort=of_sort,
        name=f"+{len(rest)} more {name}",
        versions=sum(node.versions for node in rest),
    )


def _with_channels(
    nodes: Mapping[str, LineageNode], arrows: Iterable[LineageArrow], units: Mapping[str, _Unit]
) -> tuple[list[LineageNode], list[LineageArrow]]:
    """Add the channels that serve versions in the graph."""
    all_nodes, all_arrows = list(nodes.values()), list(arrows)
    for key in nodes:
        unit = units.get(key)
        if unit is None:
            continue
        for name, number in unit.channels.items():
            channel = f"{unit.node.line}@{name}"
            all_nodes.append(
                LineageNode(
                    key=channel,
                    sort="channel",
                    of_sort="channel",
                    name=f"@{name}",
                    line=unit.node.line,
                    first=number,
                    last=number,
                )
            )
            all_arrows.append(LineageArrow(start=key, end=channel, relation="serves"))
    return all_nodes, all_arrows
