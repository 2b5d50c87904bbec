"""What plots are drawn with: SVG around marks, words, round numbers along an axis."""

import math
from collections.abc import Sequence
from html import escape

from deltareg.drawing.wording import clean, cut

_MOST_WORDS = 500


def svg(
    size: tuple[float, float], label: str, parts: Sequence[str], *, is_fixed: bool = False
) -> str:
    """Give a plot of a width and height, with a label for those who cannot see it."""
    width, height = size
    fixed = f' width="{width:.0f}" height="{height:.0f}"' if is_fixed else ' class="plot"'
    return (
        f'<svg role="img" aria-label="{safe(label)}" viewBox="0 0 {width:.0f} {height:.0f}"'
        f'{fixed} xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def written(x: float, y: float, text: str, style: str) -> str:
    """Write words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{safe(text)}</text>'


def safe(text: str) -> str:
    """Make text of others fit for SVG."""
    return escape(cut(clean(text), _MOST_WORDS))


def brief(value: float) -> str:
    """Write a number for an axis."""
    return f"{value:.3g}" if math.isfinite(value) else "not finite"


def round_ticks(most: float) -> list[float]:
    """Give round numbers from zero to about the largest."""
    if not most > 0:
        return [0.0]
    raw = most / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * n for n in (1, 2, 2.5, 5, 10) if unit * n >= raw)
    return [step * n for n in range(math.ceil(most / step) + 1)]
