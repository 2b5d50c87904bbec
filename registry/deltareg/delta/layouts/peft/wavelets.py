"""One step of the inverse discrete wavelet transform in two dimensions (Mallat 1989).

Filters are those of Daubechies (1992, "Ten Lectures on Wavelets": `db`, `sym`, `coif`), lowpass for
reconstruction, in wavelets.json; the highpass is the same reversed with every second sign changed.
They are the peft library's own numbers, since deltas were trained with them: its `coif4` is
slightly off, and its `coif5` does not fit its own padding, so no delta has that.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from deltareg.delta.maths.formula import Array, Ops


@dataclass(frozen=True, slots=True)
class Wavelet:
    """A pair of filters of equal, even length.

    Attributes:
        low: The lowpass.
        high: The highpass.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def reach(self) -> int:
        """How many coefficients beyond half the rows contribute to a run of rows."""
        return len(self.low) // 2 - 1


@cache
def wavelets() -> dict[str, Wavelet]:
    """Return all filters by their names."""
    file = resources.files("deltareg.delta.layouts.peft") / "wavelets.json"
    table: dict[str, list[float]] = json.loads(file.read_text(encoding="utf-8"))
    return {name: _wavelet(low) for name, low in table.items()}


def rebuilt(low: Array, high: Array, wavelet: Wavelet, ops: Ops) -> Array:
    """Combine two bands of rows.

    Args:
        low: The lowpass band (n, m).
        high: The highpass band (n, m).
        wavelet: The filters.
        ops: The operations.

    Returns:
        (2 · (n - reach), m): the rows in which every filter lies inside the bands.
    """
    even = _filter_band(low, wavelet.low[::2], ops) + _filter_band(high, wavelet.high[::2], ops)
    odd = _filter_band(low, wavelet.low[1::2], ops) + _filter_band(high, wavelet.high[1::2], ops)
    height, width = even.shape
    pairs = ops.concat([even.reshape(height, 1, width), odd.reshape(height, 1, width)], 1)
    return pairs.reshape(2 * height, width)


def _filter_band(band: Array, taps: Sequence[float], ops: Ops) -> Array:
    """Return Σ taps[s] · band[j + reach - s] for every row j for which all terms exist."""
    height = band.shape[0] - len(taps) + 1
    total = ops.zeros(height, *band.shape[1:])
    for at, tap in enumerate(taps):
        first = len(taps) - 1 - at
        total = total + band[first : first + height] * tap
    return total


def _wavelet(low: Sequence[float]) -> Wavelet:
    high = [-tap if at % 2 else tap for at, tap in enumerate(reversed(low))]
    return Wavelet(tuple(low), tuple(high))
