"""Finds all pages in this folder, and orders their routes so that none hides another."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from starlette.routing import Route

from deltareg.pages.routing import Page

_FOLDER = "deltareg.pages"


@cache
def all_pages() -> tuple[Page, ...]:
    """Return the pages of every module in this folder that defines `PAGES`."""
    path = import_module(_FOLDER).__path__
    names = sorted(module.name for module in iter_modules(path, f"{_FOLDER}."))
    return tuple(page for name in names for page in getattr(import_module(name), "PAGES", ()))


def sort_routes(routes: Iterable[Route]) -> list[Route]:
    """Sort routes into the order in which they are matched, whatever order they were written in.

    A fixed word comes before a parameter, so `/diff` before `/{version}`; a parameter for several
    words comes last.
    """
    return sorted(routes, key=lambda route: (_openness(route.path), route.path))


def _openness(path: str) -> list[int]:
    """Return for each part of a path: 0 for a fixed word, 1 for any word, 2 for any words."""
    return [2 if ":path}" in part else int("{" in part) for part in path.split("/")]
