"""Plots as SVG text: heat map, lines over layers, small histories.

Colours are classes of the page's style sheet, so that a plot follows dark and light; every mark has
a title to hover over, and every plot a label for those who cannot see it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltareg.drawing.strokes import (
    brief,
    round_ticks,
    safe,
    svg,
    written,
)

STEPS = 9
_LABEL_CHARS = 34
_CHAR_WIDTH = 6.8


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a plot: its name, its values along x, and the class that colours it."""

    name: str
    values: Sequence[float]
    style: str


@dataclass(frozen=True, slots=True)
class Heat:
    """A heat map: rows of cells, None where there is nothing."""

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[float | None]]
    label: str
    unit: str


def heat_map(heat: Heat) -> str:
    """Draw cells from pale (zero) to strong (the largest), with a scale below."""
    width, height = _cell_width(len(heat.columns)), 24
    left = 12 + min(_LABEL_CHARS, max(map(len, heat.rows), default=0)) * _CHAR_WIDTH
    top = 22
    values = [v for row in heat.cells for v in row if v is not None and math.isfinite(v)]
    most = max(values, default=0.0)
    parts: list[str] = []
    every = max(1, math.ceil(len(heat.columns) * 22 / max(1, width * len(heat.columns))))
    for x, name in enumerate(heat.columns):
        if x % every == 0:
            parts.append(written(left + (x + 0.5) * width, 14, name, "mid"))
    for y, row in enumerate(heat.rows):
        parts.append(written(left - 8, top + y * height + 16, _clip(row), "end"))
        for x, value in enumerate(heat.cells[y]):
            place = (left + x * width, top + y * height, width - 2, height - 2)
            told = f"{row}, {heat.columns[x]}"
            parts.append(_cell(place, value, most, told))
    bottom = top + len(heat.rows) * height
    words = f"0 to {brief(most)}: {heat.unit}"
    parts.append(_scale(left, bottom + 12, words))
    size = (left + max(len(heat.columns) * width, len(words) * _CHAR_WIDTH) + 4, bottom + 42)
    return svg(size, heat.label, parts, is_fixed=True)


def _cell_width(columns: int) -> float:
    return max(16.0, min(64.0, 900 / max(1, columns)))


def _cell(
    place: tuple[float, float, float, float], value: float | None, most: float, told: str
) -> str:
    x, y, width, height = place
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3"'
    if value is None:
        return f'<rect {box} class="none"><title>{safe(told)}: unchanged</title></rect>'
    step = _step(value, most)
    mark = f'<rect {box} class="h{step}"><title>{safe(told)}: {value:.4g}</title></rect>'
    if width < 40:
        return mark
    tone = "on" if step > STEPS // 2 else "off"
    return mark + written(x + width / 2, y + 15, brief(value), f"mid {tone}")


def _step(value: float, most: float) -> int:
    if not math.isfinite(value):
        return STEPS - 1
    return min(STEPS - 1, int(value / most * STEPS)) if most > 0 else 0


def _scale(x: float, y: float, words: str) -> str:
    boxes = [
        f'<rect x="{x + step * 14:.1f}" y="{y:.1f}" width="14" height="8" class="h{step}"/>'
        for step in range(STEPS)
    ]
    return "".join([*boxes, written(x, y + 23, words, "")])


def line_plot(lines: Sequence[Line], columns: Sequence[str], *, label: str) -> str:
    """Draw lines over a common x, from zero up."""
    width, height, left, bottom = 460.0, 220.0, 52.0, 190.0
    top, right = 12.0, width - 14
    most = max((v for line in lines for v in line.values if math.isfinite(v)), default=0.0)
    ticks = round_ticks(most)
    high = max(ticks[-1], most) or 1.0

    def at_x(n: int) -> float:
        return left + 10 + (right - left - 20) * (n / max(1, len(columns) - 1) if n else 0.0)

    def at_y(value: float) -> float:
        return bottom - (bottom - top) * min(value, high) / high

    parts = [
        f'<line x1="{left}" x2="{right}" y1="{at_y(t):.1f}" y2="{at_y(t):.1f}" class="rule"/>'
        + written(left - 8, at_y(t) + 4, brief(t), "end")
        for t in ticks
    ]
    every = max(1, math.ceil(len(columns) / 12))
    parts += [
        written(at_x(n), bottom + 20, name, "mid")
        for n, name in enumerate(columns)
        if n % every == 0
    ]
    for line in lines:
        parts += _drawn(line, columns, at_x, at_y)
    return svg((width, height), label, parts)


def _drawn(
    line: Line, columns: Sequence[str], at_x: Callable[[int], float], at_y: Callable[[float], float]
) -> list[str]:
    points = [(n, v) for n, v in enumerate(line.values) if math.isfinite(v)]
    path = " ".join(f"{at_x(n):.1f},{at_y(v):.1f}" for n, v in points)
    marks = [f'<polyline points="{path}" class="line {line.style}"/>']
    for n, value in points:
        told = f"{safe(line.name)}, {safe(columns[n])}: {value:.4g}"
        marks.append(
            f'<circle cx="{at_x(n):.1f}" cy="{at_y(value):.1f}" r="3" class="dot {line.style}">'
            f"<title>{told}</title></circle>"
        )
    return marks


def history(values: Sequence[tuple[str, float]], *, threshold: float | None, label: str) -> str:
    """Draw a small line of values by version; the last is the one that matters."""
    width, height, left, right, top, bottom = 300.0, 104.0, 12.0, 288.0, 14.0, 78.0
    numbers = [value for _, value in values]
    low, high = min(numbers), max(numbers)
    near = threshold is not None and low - (high - low) * 2 <= threshold <= high + (high - low) * 2
    if near and threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    spread = (high - low) or abs(high) or 1.0

    def at_x(n: int) -> float:
        return left + (right - left) * (n / max(1, len(values) - 1))

    def at_y(value: float) -> float:
        return bottom - (bottom - top) * ((value - low) / spread if high > low else 0.5)

    parts: list[str] = []
    if near and threshold is not None:
        y = at_y(threshold)
        parts.append(f'<line x1="0" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" class="limit"/>')
    parts += _drawn(Line(label, numbers, "b"), [name for name, _ in values], at_x, at_y)
    first, last = values[0][0], values[-1][0]
    parts += [written(left, 98, first, ""), written(right, 98, last, "end strong")]
    return svg((width, height), label, parts)


def _clip(text: str) -> str:
    return text if len(text) <= _LABEL_CHARS else f"…{text[1 - _LABEL_CHARS :]}"
