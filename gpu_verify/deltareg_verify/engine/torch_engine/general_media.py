"""Images and sounds of a general probe set, computed from a seed: shapes and tones, not noise.

Noise is all alike to a network that knows pictures, and shows nothing of how far apart it keeps
different things.
"""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

_PIXELS, _SOUNDS = ("pixel_values",), ("input_values", "input_features")
_SCALE = 1.5  # a normalised picture lies within about this
F64 = NDArray[np.float64]


def with_patterns(inputs: Mapping[str, torch.Tensor], *, seed: int) -> dict[str, torch.Tensor]:
    """Replace each image of noise with a picture, and each sound of noise with a tone.

    Args:
        inputs: The network's inputs, one image or sound per row; other shapes stay as they are.
        seed: The same seed gives the same.
    """
    random = np.random.default_rng(seed)
    patterns = dict(inputs)
    for name in _PIXELS:
        if name in patterns and patterns[name].ndim == 4:
            patterns[name] = _like(patterns[name], _pictures(random, tuple(patterns[name].shape)))
    for name in _SOUNDS:
        if name in patterns and patterns[name].ndim == 2:
            patterns[name] = _like(patterns[name], _tones(random, *patterns[name].shape))
        elif name in patterns and patterns[name].ndim == 3:
            rows, height, width = patterns[name].shape
            made = _pictures(random, (rows, 1, height, width))[:, 0]
            patterns[name] = _like(patterns[name], made)
    return patterns


def _like(old: torch.Tensor, new: F64) -> torch.Tensor:
    return torch.from_numpy(new.astype(np.float32)).to(old)


def _pictures(random: np.random.Generator, shape: tuple[int, ...]) -> F64:
    """Create (rows, channels, height, width): slopes, squares, rings, stripes, discs, dots."""
    rows, channels, height, width = shape
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pictures = np.empty(shape)
    for row in range(rows):
        colours = random.uniform(-1, 1, (2, channels))
        angle, pitch = random.uniform(0, np.pi), random.uniform(3, 9)
        x, y = random.uniform(0.3, 0.7, 2)
        along = across * np.cos(angle) + down * np.sin(angle)
        far = np.hypot(across - x, down - y)
        kinds = (
            along - along.min(),
            (np.floor(across * pitch) + np.floor(down * pitch)) % 2,
            (np.sin(far * pitch * 6) + 1) / 2,
            (np.sin(along * pitch * 4) + 1) / 2,
            (far < 0.3).astype(np.float64),
            (np.sin(across * pitch * 5) * np.sin(down * pitch * 7) > 0.6).astype(np.float64),
        )
        share = np.clip(kinds[row % len(kinds)], 0, 1)[None]
        low, high = colours[0][:, None, None], colours[1][:, None, None]
        pictures[row] = _SCALE * (low * (1 - share) + high * share)
        pictures[row] += random.normal(0, 0.05, pictures[row].shape)
    return pictures


def _tones(random: np.random.Generator, rows: int, samples: int) -> F64:
    """Create (rows, samples): a tone, a chirp, pulses and hiss in turn, at 16 kHz."""
    time = np.arange(samples) / 16_000
    tones = np.empty((rows, samples))
    for row in range(rows):
        pitch = random.uniform(150, 1_500)
        kinds = (
            np.sin(2 * np.pi * pitch * time),
            np.sin(2 * np.pi * (pitch + 2_000 * time) * time),
            np.sign(np.sin(2 * np.pi * pitch / 4 * time)) * np.sin(2 * np.pi * pitch * 2 * time),
            random.normal(0, 1, samples),
        )
        tones[row] = kinds[row % len(kinds)] + random.normal(0, 0.02, samples)
    return tones
