"""Bases: their identity in parts, their variants, and what stands on each."""

from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
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
        ask.registry, ask.caller, root=None, cursor=ask.text("cursor"), limit=_LISTED
    )
    return BasesPage(asked="", bases=found)


def _show(ask: Ask) -> BasePage:
    name = ask.part("base")
    found = show_base(ask.registry, ask.caller, name)
    suite = ask.text("suite") or DEFAULT_SUITE
    versions = list_compat(
        ask.registry, ask.caller, name, suite=suite, cursor=ask.text("cursor"), limit=_LISTED
    )
    columns = list(dict.fromkeys(form for row in versions.items for form in row.on))
    return BasePage(base=found, suite=suite, versions=versions, columns=columns)


PAGES = (
    View("/bases", _list, "bases.html.jinja", "Bases"),
    View("/bases/{base:path}", _show, "base.html.jinja", "Bases"),
)
