"""Delta lines, searched by words and facets, and the search field that leads to a reference."""

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote, urlencode

from deltareg.db.lines.deltas import LineFilter
from deltareg.errors import InvalidInput
from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import Redirect, View
from deltareg.pages.tables import Cell, PageTable, pairs
from deltareg.refs import Ref
from deltareg.service.lines.versions import show_version
from deltareg.service.overview.deltas import LineSearchResult, look_for_lines
from deltareg.wire import Answer

_LISTED = 30
# A line, or a part of its name, and behind it a version or a channel.
_LOOSE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._/-]*)"
    r"(?:[\s:]+v(?P<number>[1-9][0-9]{0,8})|\s*@(?P<channel>[a-z0-9][a-z0-9._-]*))"
)
_FACETS = (("namespace", "Namespace"), ("kind", "Kind"), ("base", "Base"))


class LineQuery(Answer):
    """A search for lines; empty fields do not narrow it."""

    text: str
    namespace: str
    kind: str
    base: str
    verdict: str
    channel: str


class FacetLinks(Answer):
    """A facet's values: each with its number of lines, its link, and whether it is on."""

    title: str
    values: list[tuple[str, int, str, bool]]


class DeltasPage(LineSearchResult):
    """Lines, the search for them, and the links that narrow it."""

    asked: LineQuery
    facets: list[FacetLinks]
    rest: str
    is_narrowed: bool


def _deltas(ask: ViewRequest) -> DeltasPage:
    words = {name: ask.text(name) for name in ("q", "namespace", "kind", "base", "verdict", "channel")}
    only = LineFilter(
        namespace=words["namespace"],
        base=words["base"],
        kind=words["kind"],
        verdict=words["verdict"],
        channel=words["channel"],
        text=words["q"],
    )
    lines = look_for_lines(ask.registry, ask.caller, only=only, cursor=ask.cursor, limit=ask.most(_LISTED))
    filters = {name: word for name, word in words.items() if word}
    values = (lines.namespaces, lines.kinds, lines.bases)
    facets = [
        FacetLinks(
            title=title,
            values=[
                (one.value, one.lines, _toggle_facet(filters, name, one.value), filters.get(name) == one.value)
                for one in options
            ],
        )
        for (name, title), options in zip(_FACETS, values, strict=True)
        if len(options) > 1 or name in filters
    ]
    query = LineQuery(
        text=words["q"] or "",
        namespace=words["namespace"] or "",
        kind=words["kind"] or "",
        base=words["base"] or "",
        verdict=words["verdict"] or "",
        channel=words["channel"] or "",
    )
    return DeltasPage(
        **dict(lines), asked=query, facets=facets, rest=f"{ROOT}/deltas?{urlencode(filters)}", is_narrowed=bool(filters)
    )


def _toggle_facet(given: dict[str, str], name: str, value: str) -> str:
    """Return the address with a facet's value added, or removed if it is set."""
    rest = {key: word for key, word in given.items() if (key, word) != (name, value)}
    query = rest if given.get(name) == value else rest | {name: value}
    return f"{ROOT}/deltas?{urlencode(query)}"


def _find(ask: ViewRequest) -> str:
    """Return the address of what a reference or its loose form names, or of a search."""
    text = ask.text("q") or ""
    try:
        ref = Ref.parse(text)
    except InvalidInput:
        return _resolve_text(ask, text) or f"{ROOT}/deltas?{urlencode({'q': text})}"
    ref = ask.caller.current_ref(ref)
    line = f"{ROOT}/deltas/{quote(str(ref.line))}"
    if ref.version is not None:
        return f"{line}/v{ref.version}"
    if ref.channel is not None and ref.revision is None and not ref.back:
        return f"{line}/channels/{quote(ref.channel)}"
    if ref.is_bare:
        return line if ask.caller.sees(ref.line) else f"{ROOT}/deltas?{urlencode({'q': text})}"
    version = show_version(ask.registry, ask.caller, ref, bare="newest")
    return f"{ROOT}/deltas/{quote(f'{version.namespace}/{version.name}')}/v{version.version}"


def _resolve_text(ask: ViewRequest, text: str) -> str:
    """Return the address of what `chat v3` or `chat @prod` means; empty for any other form.

    If several lines have that name, or none, it is the address of a search for the name.
    """
    match = _LOOSE.fullmatch(text)
    if match is None:
        return ""
    name, search = match["name"], f"{ROOT}/deltas?{urlencode({'q': match['name']})}"
    only = LineFilter(text=name)
    rows = look_for_lines(ask.registry, ask.caller, only=only, cursor=None, limit=_LISTED).found
    lines = [row.line for row in rows.items]
    matches = [line for line in lines if name.lower() in {line, line.rpartition("/")[2]}] or lines
    if len(matches) != 1:
        return search
    line = f"{ROOT}/deltas/{quote(matches[0])}"
    number, channel = match["number"], match["channel"]
    return f"{line}/v{number}" if number else f"{line}/channels/{quote(channel)}"


def _cells(page: DeltasPage) -> Iterator[Sequence[Cell]]:
    for row in page.found.items:
        new = row.newest
        yield (
            row.line,
            row.versions,
            pairs(row.channels),
            row.created_at,
            *(
                ("",) * 7
                if new is None
                else (
                    new.version,
                    new.verdict or "none",
                    new.kind,
                    new.base.name or "",
                    new.stored_bytes,
                    new.created_at,
                    new.created_by,
                )
            ),
        )


_TABLE = PageTable(
    (
        "delta",
        "versions",
        "channels",
        "created_at",
        "newest",
        "verdict",
        "kind",
        "base",
        "stored_bytes",
        "pushed_at",
        "pushed_by",
    ),
    _cells,
    lambda page: page.found.next_cursor,
)
PAGES = (View("/deltas", _deltas, "deltas.html.jinja", "Deltas", table=_TABLE), Redirect("/find", _find))
