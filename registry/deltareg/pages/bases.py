"""Bases: their identity in parts, their variants, and what stands on each."""

from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
from deltareg.service.bases.bases import list_bases
from deltareg.service.overview.base import BaseWithVersions, bases_called, show_base_with_versions
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import Answer, BaseInfo, Page

_LISTED = 50


class BasesPage(Answer):
    """Bases by name, or those called like what was asked for; `is_near` where only nearly."""

    asked: str
    is_near: bool = False
    bases: Page[BaseInfo]


class BasePage(BaseWithVersions):
    """A base with what stands on it by a suite, and the forms of it that there is a column for."""

    suite: str
    columns: list[str]

    @property
    def heads(self) -> list[tuple[str, str]]:
        """Give the heads of the table of versions."""
        return [("Version", ""), *((name, "") for name in self.columns), ("Pushed", "")]


def _list(ask: Ask) -> BasesPage:
    asked = ask.text("q")
    if asked is not None:
        like = bases_called(ask.registry, ask.caller, asked)
        return BasesPage(asked=asked, is_near=like.is_near, bases=Page(items=like.bases))
    found = list_bases(
        ask.registry, ask.caller, root=None, cursor=ask.text("cursor"), limit=_LISTED
    )
    return BasesPage(asked="", bases=found)


def _show(ask: Ask) -> BasePage:
    suite = ask.text("suite") or DEFAULT_SUITE
    found = show_base_with_versions(
        ask.registry, ask.caller, ask.part("base"), suite=suite, cursor=ask.text("cursor"),
        limit=_LISTED,
    )  # fmt: skip
    columns = list(dict.fromkeys(form for row in found.versions.items for form in row.on))
    return BasePage(**dict(found), suite=suite, columns=columns)


PAGES = (
    View("/bases", _list, "bases.html.jinja", "Bases"),
    View("/bases/{base:path}", _show, "base.html.jinja", "Bases"),
)
