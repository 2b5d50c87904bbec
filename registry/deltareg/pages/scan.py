"""The pages there are: found by looking into this folder, and put where no other one hides them."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from starlette.routing import Route

from deltareg.pages.routing import Page

_FOLDER = "deltareg.pages"


@cache
def all_pages() -> tuple[Page, ...]:
    """Give the pages of every file here that has some: `PAGES`, at module level."""
    path = import_module(_FOLDER).__path__
    names = sorted(module.name for module in iter_modules(path, f"{_FOLDER}."))
    return tuple(page for name in names for page in getattr(import_module(name), "PAGES", ()))


def sort_routes(routes: Iterable[Route]) -> list[Route]:
    """Put routes in the order in which they are asked, whatever order they were written in.

    A word goes before what stands for any word, `/{version}` after `/diff`, and what stands for
    several words comes last.
    """
    return sorted(routes, key=lambda route: (_openness(route.path), route.path))


def _openness(path: str) -> list[int]:
    """Say of each part of a path how much it stands for: a word, any word, any words."""
    return [2 if ":path}" in part else int("{" in part) for part in path.split("/")]
