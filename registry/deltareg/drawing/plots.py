"""Plots: heat map, lines over layers, small histories, bars.

Colours are classes of the page's style sheet, so that a plot follows dark and light mode; every
mark has a tooltip, and every plot a label for people who cannot see it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltareg.drawing.strokes import (
    BoxMark,
    DotMark,
    Mark,
    RuleMark,
    StrokeMark,
    axis,
    brief,
    draw_text,
    round_ticks,
    svg,
)

STEPS = 9
_COARSE = 0.2
_LABEL_CHARS = 34
_CHAR_WIDTH = 6.8


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A line of a plot: its name, its values along x, and the class that colours it."""

    name: str
    values: Sequence[float]
    style: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A heat map: rows of cells, None for empty ones."""

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[float | None]]
    label: str
    unit: str


@dataclass(frozen=True, slots=True)
class PlotBar:
    """A bar: its name, its length relative to the longest, from 0 to 1, and its value in words."""

    name: str
    share: float
    words: str


def shares(rows: Sequence[tuple[str, float, str]]) -> list[PlotBar]:
    """Build bars from non-negative values, each with a name and words for the value.

    Values that are not finite are as long as the longest.
    """
    most = max((value for _, value, _ in rows if math.isfinite(value)), default=0.0) or 1.0
    return [
        PlotBar(name, min(1.0, value / most) if math.isfinite(value) else 1.0, words) for name, value, words in rows
    ]


def heat_map(heat: HeatMap) -> str:
    """Draw cells from pale (zero) to strong (the largest), with a scale below."""
    width, height = _cell_width(len(heat.columns)), 24
    left = 12 + min(_LABEL_CHARS, max(map(len, heat.rows), default=0)) * _CHAR_WIDTH
    top = 22
    values = [v for row in heat.cells for v in row if v is not None and math.isfinite(v)]
    most = max(values, default=0.0)
    marks: list[Mark] = []
    every = max(1, math.ceil(len(heat.columns) * 22 / max(1, width * len(heat.columns))))
    for x, name in enumerate(heat.columns):
        if x % every == 0:
            marks.append(draw_text(left + (x + 0.5) * width, 14, name, "mid"))
    for y, row in enumerate(heat.rows):
        marks.append(draw_text(left - 8, top + y * height + 16, _clip(row), "end"))
        for x, value in enumerate(heat.cells[y]):
            place = (left + x * width, top + y * height, width - 2, height - 2)
            marks += _cell(place, value, most, f"{row}, {heat.columns[x]}")
    bottom = top + len(heat.rows) * height
    words = f"0 to {brief(most)}: {heat.unit}"
    marks += _scale(left, bottom + 12, words)
    size = (left + max(len(heat.columns) * width, len(words) * _CHAR_WIDTH) + 4, bottom + 42)
    return svg(size, heat.label, marks, is_fixed=True)


def _cell_width(columns: int) -> float:
    return max(16.0, min(64.0, 900 / max(1, columns)))


def _cell(place: tuple[float, float, float, float], value: float | None, most: float, told: str) -> list[Mark]:
    x, y, width, height = place
    words = "unchanged" if value is None else f"{value:.4g}"
    step = 0 if value is None else _step(value, most)
    style = "none" if value is None else f"h{step}"
    title = f"{told}: {words}"
    box = BoxMark(style, title, x=x, y=y, width=width, height=height, radius=3)
    if value is None or width < 40:
        return [box]
    tone = "on" if step > STEPS // 2 else "off"
    return [box, draw_text(x + width / 2, y + 15, brief(value), f"mid {tone}")]


def _step(value: float, most: float) -> int:
    if not math.isfinite(value):
        return STEPS - 1
    return min(STEPS - 1, int(value / most * STEPS)) if most > 0 else 0


def _scale(x: float, y: float, words: str) -> list[Mark]:
    boxes = [BoxMark(f"h{n}", x=x + n * 14, y=y, width=14, height=8) for n in range(STEPS)]
    return [*boxes, draw_text(x, y + 23, words, "")]


def line_plot(lines: Sequence[PlotLine], columns: Sequence[str], *, label: str) -> str:
    """Draw lines over a common x axis, from zero up."""
    width, height, left, bottom = 460.0, 220.0, 52.0, 190.0
    top, right = 12.0, width - 14
    most = max((v for line in lines for v in line.values if math.isfinite(v)), default=0.0)
    ticks = round_ticks(most)
    high = max(ticks[-1], most) or 1.0

    def at_x(n: int) -> float:
        return left + 10 + (right - left - 20) * (n / max(1, len(columns) - 1) if n else 0.0)

    def at_y(value: float) -> float:
        return bottom - (bottom - top) * (min(value, high) / high)

    marks = axis(ticks, left=left, right=right, heights=[at_y(tick) for tick in ticks])
    every = max(1, math.ceil(len(columns) / 12))
    marks += [draw_text(at_x(n), bottom + 20, name, "mid") for n, name in enumerate(columns) if n % every == 0]
    for line in lines:
        marks += _draw_line(line, columns, at_x, at_y)
    return svg((width, height), label, marks)


def _draw_line(
    line: PlotLine, columns: Sequence[str], at_x: Callable[[int], float], at_y: Callable[[float], float]
) -> list[Mark]:
    points = [(n, v) for n, v in enumerate(line.values) if math.isfinite(v)]
    marks: list[Mark] = [StrokeMark(f"line {line.style}", points=[(at_x(n), at_y(v)) for n, v in points])]
    for n, value in points:
        title = f"{line.name}, {columns[n]}: {value:.4g}"
        marks.append(DotMark(f"dot {line.style}", title, x=at_x(n), y=at_y(value), radius=3))
    return marks


def history(
    values: Sequence[tuple[str, float]], *, threshold: float | None, label: str, words: Callable[[float], str] = brief
) -> str:
    """Draw a small line of values by version; the last one is emphasised, and `words` writes the axis.

    The scale includes the threshold, so that values far from it look far; otherwise small changes
    look small.
    """
    width, height, right, top, bottom = 308.0, 112.0, 298.0, 14.0, 86.0
    numbers = [value for _, value in values]
    low, high = scale_of(numbers, threshold)
    left = max(58.0, 14 + 7.2 * max(len(words(low)), len(words(high))))

    def at_x(n: int) -> float:
        return left + 8 + (right - left - 16) * (n / max(1, len(values) - 1))

    def at_y(value: float) -> float:
        return bottom - (bottom - top) * ((value - low) / (high - low))

    marks = axis([low, high], left=left, right=right, heights=[bottom, top], words=words)
    if threshold is not None:
        y = at_y(threshold)
        marks.append(RuleMark("limit", x1=left, x2=right, y1=y, y2=y))
    marks += _draw_line(PlotLine(label, numbers, "b"), [name for name, _ in values], at_x, at_y)
    first, last = values[0][0], values[-1][0]
    marks += [draw_text(left, 106, first, ""), draw_text(right, 106, last, "end strong")]
    return svg((width, height), label, marks)


def scale_of(values: Sequence[float], threshold: float | None) -> tuple[float, float]:
    """Return the lower and upper end of an axis of values that shows their threshold.

    It begins at zero if the values come near it; otherwise it spans at least a fifth of the largest
    value, unless a near threshold asks for a finer scale.
    """
    drawn = [*values, *([] if threshold is None else [threshold])]
    low, high = min(drawn), max(drawn)
    size = max(abs(low), abs(high)) or 1.0
    if low >= 0 and high - low > _COARSE * size:
        return 0.0, high
    if high <= 0 and high - low > _COARSE * size:
        return low, 0.0
    least = _COARSE * size if threshold is None or low == high else 0.0
    room = max(0.0, least - (high - low)) / 2
    return low - room, high + room


def _clip(text: str) -> str:
    return text if len(text) <= _LABEL_CHARS else f"…{text[1 - _LABEL_CHARS :]}"
