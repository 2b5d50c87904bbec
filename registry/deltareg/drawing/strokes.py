"""Elements of plots: marks, the SVG around them, round numbers along an axis."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark in a plot.

    Attributes:
        style: Classes of the page's style sheet.
        title: Its tooltip; empty for none.
    """

    shape: ClassVar[str]
    style: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMark(Mark):
    """A text at a position."""

    shape: ClassVar[str] = "text"
    x: float
    y: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxMark(Mark):
    """A rectangle, with the radius of its corners."""

    shape: ClassVar[str] = "rect"
    x: float
    y: float
    width: float
    height: float
    radius: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleMark(Mark):
    """A straight line."""

    shape: ClassVar[str] = "line"
    x1: float
    x2: float
    y1: float
    y2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DotMark(Mark):
    """A filled circle."""

    shape: ClassVar[str] = "circle"
    x: float
    y: float
    radius: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StrokeMark(Mark):
    """A line through points."""

    shape: ClassVar[str] = "polyline"
    points: Sequence[Point]


def svg(size: Point, label: str, marks: Sequence[Mark], *, is_fixed: bool = False) -> str:
    """Return a plot of a width and height as markup, with a label for people who cannot see it."""
    from deltareg.drawing.rendering import render  # what a plot is made of needs no templates

    return render("plot.svg.jinja", size=size, label=label, marks=marks, is_fixed=is_fixed)


def as_file(plot: str) -> str:
    """Return a plot as a file that contains its colours and needs no page around it."""
    style = (files("deltareg.drawing") / "templates" / "plot.css").read_text("utf-8")
    head, _, marks = plot.partition(">")  # a sign within the label is escaped
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}><style>{style}</style>{marks}\n'


def draw_text(x: float, y: float, text: str, style: str) -> Mark:
    """Build a text mark at a position."""
    return TextMark(style, x=x, y=y, words=text)


def axis(
    ticks: Sequence[float],
    *,
    left: float,
    right: float,
    heights: Sequence[float],
    words: Callable[[float], str] | None = None,
) -> list[Mark]:
    """Draw a rule with a number for each tick, at its height; `words` writes it, where `brief` is not to."""
    write = words or brief
    return [
        mark
        for tick, y in zip(ticks, heights, strict=True)
        for mark in (RuleMark("rule", x1=left, x2=right, y1=y, y2=y), draw_text(left - 8, y + 4, write(tick), "end"))
    ]


def brief(value: float) -> str:
    """Format a number for an axis: `0.25`, `4.51e4`."""
    if not math.isfinite(value):
        return "not finite"
    digits, mark, exponent = f"{value:.3g}".partition("e")
    return f"{digits}e{int(exponent)}" if mark else digits


def round_ticks(most: float) -> list[float]:
    """Return round numbers from zero to about the largest value."""
    if not most > 0:
        return [0.0]
    raw = most / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * n for n in (1, 2, 2.5, 5, 10) if unit * n >= raw)
    return [step * n for n in range(math.ceil(most / step) + 1)]
