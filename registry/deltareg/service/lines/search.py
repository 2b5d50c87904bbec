"""Search: versions by words, labels, base, kind and metrics, newest first, as far as readable.

All conditions must hold. Words come from the card, the message, the labels and the names of a
version; a word that ends with `*` matches every word that begins so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

import sqlalchemy as sa

from deltareg.db.access.sight import VisibleLines
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import search as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.deltas import AskedLabel
from deltareg.db.lines.search import MetricBound, Operator, SearchConditions
from deltareg.db.session import read
from deltareg.delta.kinds import kind_names
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import SOMEWHERE, Namespace
from deltareg.service.describe import describe_versions
from deltareg.service.lines.cards import unpack_card
from deltareg.service.lines.terms import base_term, kind_term, label_term, place_term, words_of
from deltareg.service.lines.veil import veil_base
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base, find_line
from deltareg.wire import MetricInfo, Page, SearchHit

_MOST = 16
_BOUND = re.compile(r"\s*(\S.{0,99}?)\s*(>=|<=|>|<|=)\s*(-?\d{1,30}(?:\.\d{1,30})?(?:e-?\d{1,3})?)\s*")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """The conditions of a search; empty ones do not matter.

    Attributes:
        text: Words to find.
        labels: Labels that the version must have.
        base: A base, by name, alias or hub id.
        kind: The kind.
        metrics: Bounds on metrics: `accuracy>=0.9`.
        within: A namespace or a line.
        is_newest: Whether only the newest version of each line counts.
    """

    text: str = ""
    labels: Sequence[AskedLabel] = ()
    base: str = ""
    kind: str = ""
    metrics: Sequence[str] = ()
    within: str = ""
    is_newest: bool = False


def search_versions(
    registry: Registry, caller: Caller, asked: SearchQuery, *, cursor: str | None, limit: int
) -> Page[SearchHit]:
    """Find versions, leaving out those that the caller may not read.

    Raises:
        InvalidInput: A word, a kind or a metric is malformed.
        NotFound: The caller sees no such base, namespace or line.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    before = read_number_cursor(cursor)
    beginnings, words = _words(asked.text)
    bounds = [read_bound(text) for text in asked.metrics]
    if len(words) + len(beginnings) + len(bounds) + len(asked.labels) > _MOST:
        raise InvalidInput(f"a search has at most {_MOST} conditions", fix="leave some out")
    with read(registry.engine) as conn:
        terms = [*words, *_facts(conn, caller, asked)]
        sought = SearchConditions(terms, beginnings, bounds, asked.is_newest, caller.sight)
        ids = queries.found_ids(conn, sought, before=before, limit=check_limit(limit) + 1)
        hits = _describe(conn, caller, ids[:limit], [bound.name for bound in bounds])
    hit_of = dict(zip(ids, hits, strict=False))
    return page(ids, limit, show=lambda row_id: hit_of[row_id], key=lambda row_id: row_id)


def read_bound(text: str) -> MetricBound:
    """Parse `accuracy>=0.9`.

    Raises:
        InvalidInput: The text is something else.
    """
    match = _BOUND.fullmatch(text)
    if match is None:
        raise InvalidInput(f"not a metric with a bound: {text[:60]!r}", fix="accuracy>=0.9")
    return MetricBound(match[1].lower(), cast(Operator, match[2]), float(match[3]))


def _words(text: str) -> tuple[list[str], list[str]]:
    """Split the words of a search into beginnings of words and whole words."""
    beginnings: list[str] = []
    words: list[str] = []
    for part in text.split():
        part_words = words_of(part)
        if part.endswith("*") and part_words:
            beginnings.append(part_words.pop())
        words += part_words
    if text.strip() and not (words or beginnings):
        raise InvalidInput(f"no word to look for: {text[:60]!r}", fix="words have 2 to 40 letters or digits")
    return list(dict.fromkeys(beginnings)), list(dict.fromkeys(words))


def _facts(conn: sa.Connection, caller: Caller, asked: SearchQuery) -> list[str]:
    terms = [label_term(label.name, label.value) for label in asked.labels]
    if asked.base:
        terms.append(base_term(find_base(conn, caller, asked.base).id))
    if asked.kind:
        terms.append(kind_term(_kind(asked.kind)))
    if asked.within:
        terms.append(place_term(_place(conn, caller, asked.within)))
    return [*terms, *_one_namespace(caller.sight)]


def _one_namespace(sight: VisibleLines | None) -> list[str]:
    """Return the search term of the only namespace that somebody sees; empty for more than one."""
    if sight is None or sight.visibilities or sight.lines or len(sight.namespaces) != 1:
        return []
    return [place_term(sight.namespaces[0])]


def _kind(name: str) -> str:
    kinds = kind_names()
    if name in kinds:
        return name
    near = get_close_matches(name.lower(), kinds, n=1)
    suggestion = f"; did you mean {near[0]}?" if near else ""
    raise InvalidInput(f"there is no kind {name[:40]!r}{suggestion}", fix=f"kinds: {', '.join(kinds)}")


def _place(conn: sa.Connection, caller: Caller, text: str) -> str:
    if "/" in text:
        line = caller.current_line(LineRef.parse(text))
        find_line(conn, caller, line)
        return str(line)
    name = Namespace(caller.current_namespace(parse_name(text, "namespace")))
    if not caller.sees(name) or delta_queries.namespace_id(conn, name.name) is None:
        raise absent(name)
    return name.name


def _describe(conn: sa.Connection, caller: Caller, ids: Sequence[int], names: Sequence[str]) -> list[SearchHit]:
    versions = version_queries.versions_by_ids(conn, ids)
    rows = [versions[row_id] for row_id in ids]
    cards = {row_id: unpack_card(raw) for row_id, raw in queries.cards_of(conn, ids).items()}
    metrics: dict[int, list[MetricInfo]] = {}
    for each in queries.metrics_of(conn, ids, names) if names else ():
        metric = MetricInfo(name=each.name, value=each.value, source=each.source)
        metrics.setdefault(each.version_id, []).append(metric)
    hits: list[SearchHit] = []
    for row, info in zip(rows, describe_versions(conn, rows), strict=True):
        card = cards.get(row.id)
        hit = SearchHit(
            **dict(info),
            metrics=metrics.get(row.id, []),
            title="" if card is None else card.title,
            summary="" if card is None else card.summary,
        )
        hits.append(veil_base(caller, hit))
    return hits
