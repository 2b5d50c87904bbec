"""Faults of value: every tensor in its place, its numbers no longer what training gave."""

import numpy as np

from deltareg.tensors.array import F32, to_f32
from deltareg_verify.workbench.faults.delta_files import MutableDelta, MutableTensor
from deltareg_verify.workbench.faults.fault import fault

_LEVELS = 1  # each side of zero: two bits a value
_ROWS = 3


def noise_added(opened: MutableDelta, random: np.random.Generator) -> None:
    """Noise as large as the change itself lies on it."""
    for name, part in _find_targets(opened):
        noise = random.standard_normal(part.values.shape, dtype=np.float32)
        noise *= _rms(part.change)
        opened.parts[name] = part.with_change(part.change + noise)


def quantised_badly(opened: MutableDelta, random: np.random.Generator) -> None:
    """Every tensor was rounded to three values, by one scale for all of it."""
    del random
    for name, part in _find_targets(opened):
        step = np.float32(np.abs(part.change).max() / _LEVELS)
        if step > 0:
            opened.parts[name] = part.with_change(np.round(part.change / step) * step)


def saturated(opened: MutableDelta, random: np.random.Generator) -> None:
    """All values stand at a limit and keep their sign only: they overflowed and were clipped."""
    del random
    for name, part in _find_targets(opened):
        limit = np.float32(np.quantile(np.abs(part.change), 0.1))
        opened.parts[name] = part.with_change(np.clip(part.change, -limit, limit))


def rows_exploded(opened: MutableDelta, random: np.random.Generator) -> None:
    """A few rows of every matrix are thirty times as large: steps in half precision went wrong."""
    for name, part in list(opened.proportional()):
        if part.values.ndim and part.values.shape[0] > _ROWS:
            hit = random.choice(part.values.shape[0], _ROWS, replace=False)
            change = part.change.copy()
            change[hit] *= 30
            opened.parts[name] = part.with_change(change)


def wrong_dtype(opened: MutableDelta, random: np.random.Generator) -> None:
    """All values were saved as eight-bit floats with two bits of fraction, and read back."""
    del random
    codes = np.arange(256, dtype=np.uint8)
    known = to_f32(codes, "F8_E5M2")
    grid = np.unique(known[np.isfinite(known)])
    for name, part in opened.parts.items():
        opened.parts[name] = MutableTensor(
            part.file, part.dtype, part.role, part.target, _nearest(part.values, grid), part.neutral
        )


def _find_targets(opened: MutableDelta) -> list[tuple[str, MutableTensor]]:
    """Return the tensors that a fault of value affects: those that the change is proportional to."""
    return list(opened.proportional())


def _nearest(values: F32, grid: F32) -> F32:
    """Round to the nearest of sorted numbers."""
    above = np.searchsorted(grid, values).clip(1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    rounded: F32 = np.where(values - low <= high - values, low, high).astype(np.float32)
    return rounded


def _rms(values: F32) -> np.float32:
    return np.float32(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else (np.float32(0))


FAULTS = tuple(map(fault, (noise_added, quantised_badly, saturated, rows_exploded, wrong_dtype)))
