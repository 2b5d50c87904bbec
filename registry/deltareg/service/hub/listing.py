"""The list of repositories for clients of the hub: the deltas that a caller may read.

A page is walked by an index until it is full. What the database cannot decide about a tag is decided
on each row, so a tag finds exactly the repositories that show it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from deltareg.db.hub import hub_lines as queries
from deltareg.db.hub.hub_lines import RepositoryFilter, RepositoryOrder
from deltareg.db.hub.rows import ListedRepositoryRow
from deltareg.db.session import read
from deltareg.delta.kinds import kind_names
from deltareg.errors import InvalidInput
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.hub.hub_bases import known_bases
from deltareg.service.hub.listed_repository import ListedRepository, describe_repositories
from deltareg.service.hub.main_version import Main
from deltareg.service.hub.tags import BASE_MODEL_TAG, BASE_TAG, has_tags, is_state_tag, plain_tag
from deltareg.service.lines.terms import base_term, kind_term, words_of
from deltareg.service.paging import cursor_at, read_cursor
from deltareg.service.registry import Caller, Registry

MOST_ROWS: Final = 100
"""Repositories in one page, whatever a client asks for."""
_MOST_PARTS, _MOST_CHARACTERS = 16, 200
_CLAIMED = ("license:", "dataset:")
# Libraries that wrote files, which stand in manifests alone and not among the search terms.
_WRITERS = frozenset({"peft", "diffusers", "transformers", "adapters", "deltareg"})


@dataclass(frozen=True, slots=True)
class RepositoryQuery:
    """What a client lists.

    Attributes:
        search: What the names contain: every word of it.
        author: The namespace; empty for all.
        tags: The tags that a repository has.
        order: By name, or the newest first.
    """

    search: str = ""
    author: str = ""
    tags: Sequence[str] = ()
    order: RepositoryOrder = "name"


def list_repositories(
    registry: Registry, caller: Caller, asked: RepositoryQuery, *, main: Main, cursor: str | None, limit: int
) -> tuple[list[ListedRepository], str | None]:
    """List repositories that the caller may read, and the cursor of the next page; None at the end.

    Raises:
        Forbidden: The token does not allow reading.
        InvalidInput: The cursor is from elsewhere, or a text is too long or no text.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    start = _start(asked, cursor)
    wanted = [plain_tag(_check(tag)) for tag in asked.tags]
    parts = _check(asked.search).lower().split()
    if len(parts) + len(wanted) > _MOST_PARTS:
        raise InvalidInput(f"a list has at most {_MOST_PARTS} conditions", fix="leave some out")
    limit = min(limit, MOST_ROWS)
    with read(registry.engine) as conn:
        groups = [_terms(conn, caller, tag) for tag in wanted]
        if any(group == [] for group in groups):
            return [], None
        terms = [term for group in groups for term in group or ()]
        only = RepositoryFilter(caller.sight, _check(asked.author).lower(), parts, terms)
        rows_after, place = _walk(conn, asked.order, only, limit + 1)
        gathered: list[tuple[ListedRepositoryRow, ListedRepository]] = []
        while True:
            rows = rows_after(start)
            listed = describe_repositories(conn, caller, rows, main=main)
            gathered += [(row, listed[row.id]) for row in rows if has_tags(listed[row.id].tags, wanted)]
            if len(rows) <= limit or len(gathered) > limit:
                break
            start = place(rows[-1])
    shown = gathered[:limit]
    token = f"{asked.order}:{place(shown[-1][0])}" if len(gathered) > limit else None
    return [one for _, one in shown], None if token is None else cursor_at(token)


def _start(asked: RepositoryQuery, cursor: str | None) -> str | None:
    text = read_cursor(cursor)
    if text is None:
        return None
    order, _, start = text.partition(":")
    is_number = start.isascii() and start.isdecimal() and len(start) <= 18
    if order != asked.order or not (order == "name" or is_number):
        raise InvalidInput("not a cursor of this list", fix="start again without cursor")
    return start


def _check(text: str) -> str:
    """Return a text to look for.

    Raises:
        InvalidInput: It is too long, or holds control characters or half of a surrogate pair.
    """
    if len(text) > _MOST_CHARACTERS or not text.isprintable():
        raise InvalidInput(
            f"nothing is looked for by {text[:60]!r}", fix=f"use at most {_MOST_CHARACTERS} letters, digits and signs"
        )
    return text


def _terms(conn: sa.Connection, caller: Caller, tag: str) -> list[list[str]] | None:
    """Return search terms that a version with a tag has: one of each group.

    None where terms do not tell; an empty list where nothing can have the tag.
    """
    for prefix in (BASE_TAG, BASE_MODEL_TAG):
        if tag.startswith(prefix):
            bases = known_bases(conn, caller, tag.removeprefix(prefix), also_registered=True).bases
            return [[base_term(row.id) for row, _ in bases]] if bases else []
    if tag in _WRITERS or is_state_tag(tag):
        return None
    for prefix in _CLAIMED:
        tag = tag.removeprefix(prefix)
    words = words_of(tag)
    if tag in kind_names():
        return [[kind_term(tag), *words]]
    return [[word] for word in words] or None


def _walk(
    conn: sa.Connection, order: RepositoryOrder, only: RepositoryFilter, limit: int
) -> tuple[Callable[[str | None], Sequence[ListedRepositoryRow]], Callable[[ListedRepositoryRow], str]]:
    """Return how rows after a place are read, and how the place of a row is written."""

    def number(start: str | None) -> int | None:
        return None if start is None else int(start)

    match order:
        case "name":
            return (
                lambda start: queries.repositories_by_name(conn, only, after=start, limit=limit),
                lambda row: f"{row.namespace}/{row.name}",
            )
        case "created":
            return (
                lambda start: queries.repositories_by_creation(conn, only, before=number(start), limit=limit),
                lambda row: str(row.id),
            )
        case "modified":
            return (
                lambda start: queries.repositories_by_change(conn, only, before=number(start), limit=limit),
                lambda row: str(row.newest_id),
            )
