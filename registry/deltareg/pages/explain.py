"""Pages that explain a code and what to do about it: the texts of `deltareg explain`."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from deltareg.errors import NotFound
from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.wire import Answer

_CODE = re.compile(r"[a-z][a-z_]{0,60}")


class Section(Answer):
    """A section of a text, in Markdown."""

    title: str
    text: str


class ExplainPage(Answer):
    """A code: its summary in one line, and the sections of its text."""

    code: str
    title: str
    sections: list[Section]


def _show(ask: ViewRequest) -> ExplainPage:
    return explain_code(ask.part("code"))


@cache
def explain_code(code: str) -> ExplainPage:
    """Return the text about a code.

    Raises:
        NotFound: There is no such code.
    """
    page = files("deltareg") / "explain" / f"{code}.md"
    if not _CODE.fullmatch(code) or not page.is_file():
        raise NotFound(f"no code is called {code[:60]!r}", fix="take it from the error or the check")
    head, _, rest = page.read_text("utf-8").partition("\n")
    title = head.removeprefix("#").strip().removeprefix(f"{code}:").strip()
    return ExplainPage(code=code, title=title, sections=list(_sections(rest)))


def _sections(text: str) -> Iterator[Section]:
    first, *rest = re.split(r"^## ", text, flags=re.M)
    if first.strip():
        yield Section(title="What it means", text=first.strip("\n"))
    for part in rest:
        title, _, body = part.partition("\n")
        yield Section(title=title.strip(), text=body.strip("\n"))


PAGES = (View("/explain/{code}", _show, "explain.html.jinja"),)
