"""Lineage: what was made from what and what serves it, around a version, a line, a base, or all."""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from deltareg.drawing.graph import Arrow, Graph, Node
from deltareg.drawing.graph_plot import graph_svg
from deltareg.drawing.graph_texts import to_dot, to_mermaid
from deltareg.errors import InvalidInput
from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.lineage_graph import GraphSelection, LineageArrow, LineageNode, draw_together
from deltareg.pages.routing import PageExport, View
from deltareg.pages.version import ref_of
from deltareg.refs import LineRef
from deltareg.service.overview.family import STEPS, Sort, VersionFamily, merges_among, show_family
from deltareg.wire import Answer

DRAWN_MOST = 400
"""How many nodes are drawn; what has more is written out only."""

LISTED = 60
_STEPS = 2
_CHOICES = (0, 1, 2, 4, 10, 50)
_FOLDED, _FOLDED_MOST = 12, 192
_OPENED_MOST = 40


class LineageState(Answer):
    """The state in the address: around what, how far each way, and what is drawn by itself."""

    at: str
    up: int
    down: int
    is_all: bool
    most: int
    opened: list[str]

    def address(self, **changed: object) -> str:
        """Return the address of the page with parts of its state changed."""
        state = self.model_copy(update=changed)
        parameters = {
            "at": state.at,
            "up": "" if state.up == _STEPS else state.up,
            "down": "" if state.down == _STEPS else state.down,
            "show": "versions" if state.is_all else "",
            "most": "" if state.most == _FOLDED else state.most,
            "open": state.opened,
        }
        query = urlencode({k: v for k, v in parameters.items() if v not in ("", [])}, doseq=True)
        return f"{ROOT}/lineage" + (f"?{query}" if query else "")


class LineagePage(Answer):
    """A graph of versions; `version` is the number of the version whose page contains it."""

    state: LineageState
    sort: Sort
    versions: int
    is_cut: bool
    nodes: list[LineageNode]
    arrows: list[LineageArrow]
    line: str = ""
    version: int | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether there are few enough nodes to be drawn."""
        return len(self.nodes) <= DRAWN_MOST

    @property
    def drawing(self) -> str:
        """The graph as SVG."""
        return graph_svg(self.graph, f"Lineage of {self.title}, from left to right")

    @property
    def title(self) -> str:
        """What the graph is around."""
        return self.state.at.removeprefix("base:") or "everything"

    @property
    def graph(self) -> Graph:
        """The graph with its labels and links, to be drawn."""
        nodes = [self._node(one) for one in self.nodes]
        arrows = [Arrow(one.start, one.end, one.relation) for one in self.arrows]
        return Graph(nodes, arrows)

    @property
    def words(self) -> Mapping[str, str]:
        """The name of each node, by its key."""
        return {one.key: one.name for one in self.nodes}

    @property
    def before(self) -> Mapping[str, list[LineageArrow]]:
        """The arrows that lead to each node, by its key."""
        incoming: dict[str, list[LineageArrow]] = {one.key: [] for one in self.nodes}
        for arrow in self.arrows:
            incoming[arrow.end].append(arrow)
        return incoming

    @property
    def served(self) -> Mapping[str, list[LineageNode]]:
        """The channels that serve each node, by its key."""
        nodes = {one.key: one for one in self.nodes}
        channels: dict[str, list[LineageNode]] = {key: [] for key in nodes}
        for arrow in self.arrows:
            if arrow.relation == "serves":
                channels[arrow.start].append(nodes[arrow.end])
        return channels

    @property
    def rows(self) -> list[LineageNode]:
        """The nodes in the list: all but channels, which are shown beside what they serve."""
        return [one for one in self.nodes if one.sort != "channel"]

    @property
    def folded(self) -> str:
        """The address of this graph with everything folded."""
        return self.state.address(opened=[], most=_FOLDED, is_all=False)

    @property
    def listed(self) -> int:
        """How many nodes are listed below the drawing."""
        return LISTED

    def link_to_form(self, form: str) -> str:
        """Return the address of this graph in another form."""
        address = self.state.address()
        return f"{address}{'&' if '?' in address else '?'}format={form}"

    def choices(self, now: int) -> list[int]:
        """Return the numbers of steps to choose from."""
        return sorted({*_CHOICES, now})

    def lead(self, node: LineageNode) -> str:
        """Return where a node of the drawing leads: what opens it, or the graph around it."""
        match node.sort:
            case "base" | "version":
                here = self.state.at if self.version is None else ""
                return self.page_of(node) if node.key == here else self.around(node)
            case "line":
                return self.opening(node)
            case "channel":
                return self.page_of(node)
            case "more":
                wider = min(_FOLDED_MOST, self.state.most * 4)
                return self.state.address(most=wider) if wider > self.state.most else ""

    def around(self, node: LineageNode) -> str:
        """Return the address of the lineage around a node."""
        at = node.line if node.sort == "line" else node.key
        return self.state.address(at=at, opened=[], most=_FOLDED)

    def opening(self, node: LineageNode) -> str:
        """Return the address where the versions of a line are drawn one by one."""
        if node.line in self.state.opened or node.line == self.state.at:
            return self.around(node)
        open_lines = [*self.state.opened, node.line][-_OPENED_MOST:]
        return self.state.address(opened=open_lines)

    def page_of(self, node: LineageNode) -> str:
        """Return the address of the page of a node; empty if it has none."""
        match node.sort:
            case "base":
                if not node.line:
                    return f"{ROOT}/bases/{node.name}"
                return f"{ROOT}/deltas/{node.name.replace(':', '/')}"
            case "version":
                return f"{ROOT}/deltas/{node.line}/v{node.first}"
            case "line":
                return f"{ROOT}/deltas/{node.line}"
            case "channel":
                return f"{ROOT}/deltas/{node.line}/channels/{node.name[1:]}"
            case "more":
                return ""

    def note_of(self, node: LineageNode) -> str:
        """Describe a node in a few words."""
        match node.sort:
            case "base":
                return "base"
            case "version":
                state = "deleted" if node.is_deleted else "revoked" if node.is_revoked else ""
                merged = "◇ merge" if node.is_merge else ""
                merged = f"◇ {node.parents} parents" if node.parents > 1 else merged
                return ", ".join(filter(None, (state, merged, node.kind)))
            case "line":
                return f"{node.versions} versions, v{node.first}–v{node.last}"  # noqa: RUF001
            case "channel":
                return f"serves v{node.first}"
            case "more":
                is_plain = node.of_sort == "base" or not node.versions
                return "" if is_plain else f"{node.versions} versions"

    def _node(self, node: LineageNode) -> Node:
        note = self.note_of(node)
        sort = "many" if node.sort == "line" else node.sort
        style = "this" if node.is_here else "off" if node.is_deleted or node.is_revoked else ""
        title = f"{node.line}{node.name}" if node.sort == "channel" else node.name
        return Node(
            node.key, node.name, note, f"{sort} {style}".strip(), self.lead(node), f"{title}, {note}" if note else title
        )


def _lineage(ask: ViewRequest) -> LineagePage:
    return _page(ask, ask.text("at") or "")


def _of_version(ask: ViewRequest) -> LineagePage:
    ref = ref_of(ask)
    page = _page(ask, str(ref))
    return page.model_copy(update={"line": str(ask.line), "version": ref.version})


def _page(ask: ViewRequest, at: str) -> LineagePage:
    state = LineageState(
        at=at,
        up=_steps(ask, "up"),
        down=_steps(ask, "down"),
        is_all=ask.text("show") == "versions",
        most=_count(ask, "most", _FOLDED, _FOLDED_MOST),
        opened=list(dict.fromkeys(map(_line, ask.query.getlist("open")[:_OPENED_MOST]))),
    )
    family = show_family(ask.registry, ask.caller, at, up=state.up, down=state.down)
    selection = GraphSelection(frozenset(state.opened), state.is_all, state.most)
    nodes, arrows = draw_together(family, selection)
    nodes = _with_merges(ask, family, nodes)
    return LineagePage(
        state=state.model_copy(update={"at": family.at}),
        sort=family.sort,
        versions=len(family.versions),
        is_cut=family.is_cut,
        nodes=nodes,
        arrows=arrows,
    )


def _with_merges(ask: ViewRequest, found: VersionFamily, nodes: list[LineageNode]) -> list[LineageNode]:
    """Mark the merges among single versions; several parents in the graph show a merge already."""
    plain = {node.key for node in nodes if node.sort == "version" and node.parents <= 1}
    relatives = {one.ref: one for one in found.versions.values() if one.ref in plain}
    merged = merges_among(ask.registry, relatives.values())
    return [
        node.model_copy(update={"is_merge": True})
        if node.key in relatives and relatives[node.key].id in merged
        else node
        for node in nodes
    ]


def _line(text: str) -> str:
    return str(LineRef.parse(text))


def _steps(ask: ViewRequest, name: str) -> int:
    return _count(ask, name, _STEPS, STEPS)


def _count(ask: ViewRequest, name: str, otherwise: int, most: int) -> int:
    text = ask.text(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) <= most):
        raise InvalidInput(f"{name} is a number up to {most}, not {text[:40]!r}")
    return int(text)


def _texts(load: Callable[[ViewRequest], LineagePage]) -> dict[str, PageExport]:
    return {
        "dot": PageExport("text/vnd.graphviz", "lineage.dot", lambda ask: to_dot(load(ask).graph)),
        "mermaid": PageExport("text/vnd.mermaid", "lineage.mmd", lambda ask: to_mermaid(load(ask).graph)),
    }


_PATH = "/deltas/{ns}/{name}/{version}/lineage"
PAGES = (
    View("/lineage", _lineage, "lineage.html.jinja", "Deltas", texts=_texts(_lineage)),
    View(_PATH, _of_version, "lineage.html.jinja", "Deltas", texts=_texts(_of_version)),
)
