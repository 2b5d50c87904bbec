"""Plots of single samples: how many differ how much, and intervals around no change."""

import math
from collections.abc import Sequence

from deltareg.drawing.strokes import BoxMark, DotMark, Mark, RuleMark, axis, draw_text, round_ticks, svg

_MOST_BARS = 120
_GAP = 0.22


def draw_ranked_bars(values: Sequence[tuple[str, float]], *, label: str) -> str:
    """Draw a bar per sample, the largest first; with very many samples only every k-th.

    Args:
        values: Each sample's name and its non-negative value.
        label: The meaning of the values.
    """
    width, height, left, top, bottom = 400.0, 190.0, 46.0, 12.0, 160.0
    right = width - 12
    order = sorted(values, key=lambda pair: -pair[1])
    count = min(len(order), _MOST_BARS)
    bars = [(n := i * len(order) // count, *order[n]) for i in range(count)]
    ticks = round_ticks(max((value for _, _, value in bars), default=0.0))
    high = ticks[-1] or 1.0
    step = min(48.0, (right - left) / max(1, count))

    def at_y(value: float) -> float:
        return bottom - (bottom - top) * (value / high)

    marks = axis(ticks, left=left, right=right, heights=[at_y(tick) for tick in ticks])
    for i, (rank, name, value) in enumerate(bars):
        x, y = left + (i + _GAP / 2) * step, min(at_y(value), bottom - 1)
        title = f"{rank + 1} of {len(order)}: {name}, {value:.4g}"
        wide = step * (1 - _GAP)
        marks.append(BoxMark("bar", title, x=x, y=y, width=wide, height=bottom - y))
    end = left + count * step
    marks.append(draw_text(left, bottom + 20, "1", ""))
    if len(order) > 1:
        marks.append(draw_text(end, bottom + 20, f"{len(order):,}", "end"))
    return svg((width, height), label, marks)


def interval(value: float, low: float, high: float, *, none: float, label: str) -> str:
    """Draw an interval beside the line of no change, which stands in the middle.

    Args:
        value: The change.
        low: Lower end of its interval.
        high: Upper end.
        none: The value for no change: 0 for a difference, 1 for a factor, which is drawn by its
            logarithm.
        label: The label for people who cannot see it.
    """
    width, height, middle = 132.0, 22.0, 11.0
    ends = [_shift(x, none) for x in (low, value, high)]
    if not all(math.isfinite(end) for end in ends):
        return ""
    reach = max(map(abs, ends)) or 1.0
    first, dot, last = (width / 2 + end / reach * (width / 2 - 6) for end in ends)
    marks: list[Mark] = [
        RuleMark("none-line", x1=width / 2, x2=width / 2, y1=1, y2=height - 1),
        RuleMark("line b", x1=first, x2=last, y1=middle, y2=middle),
        DotMark("dot b", x=dot, y=middle, radius=4),
    ]
    return svg((width, height), label, marks, is_fixed=True)


def _shift(value: float, none: float) -> float:
    if none == 0:
        return value
    return math.log(value) if value > 0 else math.inf
