"""Fills templates with values, which always stay text.

Each value that a template writes is cleaned of characters that reverse or hide text, cut, and
escaped; since that happens here, no template can forget it. Markup comes from templates alone: no
filter passes foreign text through unchanged, and values that are not text are refused.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from jinja2.runtime import Undefined
from markupsafe import Markup, escape

from deltareg.drawing.tones import tone
from deltareg.drawing.wording import clean, clean_lines, cut, number, seconds, short, size

MOST = 2_000
_OWN = "deltareg.drawing"
_LETS_THROUGH = ("safe", "tojson", "urlize", "xmlattr")  # filters that give markup made of text


def render(template: str, *, room: str = _OWN, **values: object) -> Markup:
    """Fill a template.

    Args:
        template: Its file in `templates/` of the room, or in that of this package.
        room: The package that the template belongs to.
        values: The values by the names that the template uses; all are required.

    Raises:
        jinja2.UndefinedError: The template uses an unknown name.
        TypeError: It would write a value that is neither text nor an integer.
    """
    filled = _environment(room).get_template(template).render(values, style=_style())
    return Markup(clean_lines(filled))  # noqa: S704  # filled with autoescape


@cache
def _environment(room: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((room, _OWN))]),
        autoescape=True,
        auto_reload=False,  # looks at a file for each include; what is installed stays as it is
        undefined=StrictUndefined,
        finalize=_finalize_value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in _LETS_THROUGH:
        del environment.filters[name]
    environment.filters |= _filters()
    return environment


@cache
def _style() -> Markup:
    return Markup((files(_OWN) / "templates" / "page.css").read_text("utf-8"))  # noqa: S704  # ours


def _filters() -> dict[str, Callable[..., object]]:
    words = (clean, cut, number, seconds, short, size, tone)
    filters: dict[str, Callable[..., object]] = {one.__name__: one for one in words}
    filters |= {"breaks": _breaks, "lines": _lines, "options": _options, "place": _place, "places": _places}
    filters["prose"] = _prose
    return filters


def _finalize_value(value: object) -> object:
    """Prepare a value for output: our own markup as it is, text cleaned and cut."""
    if isinstance(value, Markup) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        return cut(clean(value), MOST)
    if isinstance(value, Undefined):
        return str(value)  # which raises, and names what is missing
    raise TypeError(f"a page shows text and whole numbers, not {type(value).__name__}")


def _breaks(text: str, behind: str) -> Markup:
    """Let a narrow screen break a name after a character."""
    parts = cut(clean(text), MOST).split(behind)
    return (escape(behind) + Markup("<wbr>")).join(parts)


def _options(line: str) -> Markup:
    """Keep a narrow screen from breaking within the options of a command line."""
    parts = cut(clean(line), MOST).split(" ")
    pieces = [Markup("<span>{}</span>").format(one) if one.startswith("-") else escape(one) for one in parts]
    return Markup(" ").join(pieces)


def _lines(text: str) -> Markup:
    """Keep the line ends of a text, and its length, which the caller has limited."""
    return escape(clean_lines(text))


def _prose(text: str) -> Markup:
    """Show foreign Markdown, of which only text and links become markup."""
    from deltareg.drawing.markdown import html_of  # reports show none, and need no parser of it

    return Markup(clean_lines(html_of(text)))  # noqa: S704  # written by a parser that takes no HTML


def _place(value: float) -> str:
    """Format a coordinate of a plot."""
    return f"{value:.1f}"


def _places(points: Sequence[tuple[float, float]]) -> str:
    """Format the points of a line."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
