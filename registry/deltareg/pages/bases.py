"""Bases: their identity in parts, their variants, and what stands on each."""

from collections.abc import Iterator, Sequence

from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, Table, pairs
from deltareg.service.bases.bases import list_bases, show_base
from deltareg.service.verdicts.compat import list_compat
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import Answer, BaseInfo, CompatRow, Page

_LISTED = 50


class BasesPage(Answer):
    """Bases by name."""

    asked: str
    bases: Page[BaseInfo]


class BasePage(Answer):
    """A base, and the versions on it with what is known of each on each variant."""

    base: BaseInfo
    suite: str
    versions: Page[CompatRow]
    columns: list[str]

    @property
    def heads(self) -> list[tuple[str, str]]:
        """Give the heads of the table of versions."""
        return [("Version", ""), *((name, "") for name in self.columns), ("Pushed", "")]


def _list(ask: Ask) -> BasesPage:
    found = list_bases(
        ask.registry, ask.caller, root=None, cursor=ask.cursor, limit=ask.most(_LISTED)
    )
    return BasesPage(asked="", bases=found)


def _show(ask: Ask) -> BasePage:
    name = ask.part("base")
    found = show_base(ask.registry, ask.caller, name)
    suite = ask.text("suite") or DEFAULT_SUITE
    versions = list_compat(
        ask.registry, ask.caller, name, suite=suite, cursor=ask.cursor,
        limit=ask.most(_LISTED),
    )  # fmt: skip
    columns = list(dict.fromkeys(form for row in versions.items for form in row.on))
    return BasePage(base=found, suite=suite, versions=versions, columns=columns)


def _cells(page: BasesPage) -> Iterator[Sequence[Cell]]:
    for row in page.bases.items:
        yield (
            row.name, row.root, row.identity, row.model_type, row.is_stored, row.proof,
            row.variant_of.name if row.variant_of else "", row.quantised, row.tensors,
            row.logical_bytes, row.stored_bytes, row.deltas, row.created_at, row.created_by,
        )  # fmt: skip


def _version_cells(page: BasePage) -> Iterator[Sequence[Cell]]:
    for row in page.versions.items:
        yield row.ref, row.trained_on, row.created_at, page.suite, pairs(row.on)


_TABLE = Table(
    ("base", "root", "identity", "type", "is_stored", "proof", "variant_of", "quantised", "tensors",
     "file_bytes", "stored_bytes", "versions", "created_at", "created_by"),
    _cells, lambda page: page.bases.next_cursor,
)  # fmt: skip
_VERSIONS = Table(
    ("ref", "trained_on", "pushed_at", "suite", "on"),
    _version_cells, lambda page: page.versions.next_cursor,
)  # fmt: skip
PAGES = (
    View("/bases", _list, "bases.html.jinja", "Bases", table=_TABLE),
    View("/bases/{base:path}", _show, "base.html.jinja", "Bases", table=_VERSIONS),
)
