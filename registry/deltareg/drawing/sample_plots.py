"""Plots of single samples: how many of them differ how much, and intervals beside no change."""

import math
from collections.abc import Sequence

from deltareg.drawing.strokes import (
    brief,
    round_ticks,
    safe,
    svg,
    written,
)

_MOST_BARS = 120
_GAP = 0.22


def ranked(values: Sequence[tuple[str, float]], *, label: str) -> str:
    """Draw a bar for each sample, the largest first; of very many every so-manyth one.

    Args:
        values: What each sample is called, and its value from zero up.
        label: What the values are.
    """
    width, height, left, top, bottom = 400.0, 190.0, 46.0, 12.0, 160.0
    right = width - 12
    order = sorted(values, key=lambda pair: -pair[1])
    count = min(len(order), _MOST_BARS)
    shown = [(n := i * len(order) // count, *order[n]) for i in range(count)]
    ticks = round_ticks(max((value for _, _, value in shown), default=0.0))
    high = ticks[-1] or 1.0
    step = min(48.0, (right - left) / max(1, count))

    def at_y(value: float) -> float:
        return bottom - (bottom - top) * value / high

    parts = [
        f'<line x1="{left}" x2="{right}" y1="{at_y(t):.1f}" y2="{at_y(t):.1f}" class="rule"/>'
        + written(left - 8, at_y(t) + 4, brief(t), "end")
        for t in ticks
    ]
    for i, (rank, name, value) in enumerate(shown):
        x, y = left + (i + _GAP / 2) * step, min(at_y(value), bottom - 1)
        told = f"{rank + 1} of {len(order)}: {safe(name)}, {value:.4g}"
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * (1 - _GAP):.1f}" '
            f'height="{bottom - y:.1f}" class="bar"><title>{told}</title></rect>'
        )
    end = left + count * step
    parts.append(written(left, bottom + 20, "1", ""))
    if len(order) > 1:
        parts.append(written(end, bottom + 20, f"{len(order):,}", "end"))
    return svg((width, height), label, parts)


def interval(value: float, low: float, high: float, *, none: float, label: str) -> str:
    """Draw an interval beside the line of no change, which stands in the middle.

    Args:
        value: The change.
        low: Lower end of its interval.
        high: Upper end.
        none: What no change is: 0 for a difference, 1 for a factor, which is drawn by its
            logarithm.
        label: What it says.
    """
    width, height, middle = 132.0, 22.0, 11.0
    ends = [_shift(x, none) for x in (low, value, high)]
    if not all(math.isfinite(end) for end in ends):
        return ""
    reach = max(map(abs, ends)) or 1.0
    first, dot, last = (width / 2 + end / reach * (width / 2 - 6) for end in ends)
    parts = [
        f'<line x1="{width / 2}" x2="{width / 2}" y1="1" y2="{height - 1}" class="none-line"/>',
        f'<line x1="{first:.1f}" x2="{last:.1f}" y1="{middle}" y2="{middle}" class="line b"/>',
        f'<circle cx="{dot:.1f}" cy="{middle}" r="4" class="dot b"/>',
    ]
    return svg((width, height), label, parts, is_fixed=True)


def _shift(value: float, none: float) -> float:
    if none == 0:
        return value
    return math.log(value) if value > 0 else math.inf
