"""Bases: their identity in parts, their variants, and what stands on each."""

from collections.abc import Iterator, Sequence

from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable, pairs
from deltareg.service.bases.bases import list_bases
from deltareg.service.overview.registered_base import BaseWithVersions, bases_called, show_base_with_versions
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import Answer, BaseInfo, Page

_LISTED = 50


class BasesPage(Answer):
    """Bases by name, or those that match the search; `is_near` if they match only nearly."""

    asked: str
    is_near: bool = False
    bases: Page[BaseInfo]


class BasePage(BaseWithVersions):
    """A base with its versions by a suite; `columns` are the variants with a column."""

    suite: str
    columns: list[str]

    @property
    def heads(self) -> list[tuple[str, str]]:
        """Return the heads of the table of versions."""
        return [("Version", ""), *((name, "") for name in self.columns), ("Pushed", "")]


def _list(ask: ViewRequest) -> BasesPage:
    query = ask.text("q")
    if query is not None:
        like = bases_called(ask.registry, ask.caller, query)
        return BasesPage(asked=query, is_near=like.is_near, bases=Page(items=like.bases))
    bases = list_bases(ask.registry, ask.caller, root=None, cursor=ask.cursor, limit=ask.most(_LISTED))
    return BasesPage(asked="", bases=bases)


def _show(ask: ViewRequest) -> BasePage:
    suite = ask.text("suite") or DEFAULT_SUITE
    detail = show_base_with_versions(
        ask.registry, ask.caller, ask.part("base"), suite=suite, cursor=ask.cursor, limit=ask.most(_LISTED)
    )
    columns = list(dict.fromkeys(form for row in detail.versions.items for form in row.on))
    return BasePage(**dict(detail), suite=suite, columns=columns)


def _cells(page: BasesPage) -> Iterator[Sequence[Cell]]:
    for row in page.bases.items:
        yield (
            row.name,
            row.root,
            row.identity,
            row.model_type,
            row.is_stored,
            row.proof,
            row.variant_of.name if row.variant_of else "",
            row.quantised,
            row.tensors,
            row.logical_bytes,
            row.stored_bytes,
            row.deltas,
            row.created_at,
            row.created_by,
        )


def _version_cells(page: BasePage) -> Iterator[Sequence[Cell]]:
    for row in page.versions.items:
        yield row.ref, row.trained_on, row.created_at, page.suite, pairs(row.on)


_TABLE = PageTable(
    (
        "base",
        "root",
        "identity",
        "type",
        "is_stored",
        "proof",
        "variant_of",
        "quantised",
        "tensors",
        "file_bytes",
        "stored_bytes",
        "versions",
        "created_at",
        "created_by",
    ),
    _cells,
    lambda page: page.bases.next_cursor,
)
_VERSIONS = PageTable(
    ("ref", "trained_on", "pushed_at", "suite", "on"), _version_cells, lambda page: page.versions.next_cursor
)
PAGES = (
    View("/bases", _list, "bases.html.jinja", "Bases", table=_TABLE),
    View("/bases/{base:path}", _show, "base.html.jinja", "Bases", table=_VERSIONS),
)
