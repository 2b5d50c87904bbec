"""How far made images are from real ones: the kernel distance of a small pinned network's features.

The distance is KID's (Bińkowski et al., 2018, arXiv 1801.01401): the squared maximum mean
discrepancy with the kernel (x·y/d + 1)³, without bias. The features are not Inception's, which
knows no latents, but those of two convolution layers whose weights follow from a seed and never
change: textures, edges and their sizes show, what an image is of does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from deltareg_verify.engine.engine import F32, F64

_SEED = 20260117
_WIDTHS = (32, 64)
_SIDE = 3


def features(images: F32, *, like: F32) -> F64:
    """Return the small network's features of images.

    Args:
        images: (n, channels, height, width).
        like: Real images; their channels define mean 0 and deviation 1, also for `images`.

    Returns:
        (n, width): means and deviations of the features over places.
    """
    middle = like.mean((0, 2, 3), keepdims=True, dtype=np.float64)
    spread = like.std((0, 2, 3), keepdims=True, dtype=np.float64) + 1e-6
    activations = (images - middle) / spread
    random, moments = np.random.default_rng(_SEED), [_compute_moments(activations)]
    for width in _WIDTHS:
        if min(activations.shape[2:]) < _SIDE:
            break
        fan_in = activations.shape[1] * _SIDE * _SIDE
        weights = random.standard_normal((fan_in, width)) * np.sqrt(2 / fan_in)
        activations = np.maximum(_convolve(activations, weights), 0.0)
        moments.append(_compute_moments(activations))
    return np.concatenate(moments, axis=1)


def _compute_moments(seen: F64) -> F64:
    return np.concatenate([seen.mean((2, 3)), seen.std((2, 3))], axis=1)


def _convolve(seen: F64, weights: F64) -> F64:
    """Apply the convolution weights, with a stride of two places."""
    windows = np.lib.stride_tricks.sliding_window_view(seen, (_SIDE, _SIDE), axis=(2, 3))
    parts = windows[:, :, ::2, ::2].transpose(0, 2, 3, 1, 4, 5)
    flat = parts.reshape(*parts.shape[:3], -1)
    result: F64 = (flat @ weights).transpose(0, 3, 1, 2)
    return result


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernel values that a distance is made of.

    Attributes:
        own: (n, n): Of made images with each other.
        cross: (n,): The mean of each with all real ones.
        real: The mean of real ones with each other, none with itself.
    """

    own: F64
    cross: F64
    real: float


@dataclass(frozen=True, slots=True)
class MadeImage:
    """One made image: its place among all, and the kernels of all."""

    place: int
    kernels: Kernels


def made_images(made: F32, real: F32) -> list[object]:
    """Return one row per image, for `distance`."""
    ours, theirs = features(made, like=real), features(real, like=real)
    among = _kernel(theirs, theirs)
    count = len(theirs)
    rest = float((among.sum() - np.trace(among)) / (count * (count - 1)))
    kernels = Kernels(_kernel(ours, ours), _kernel(ours, theirs).mean(1), rest)
    return [MadeImage(place, kernels) for place in range(len(made))]


def distance(rows: Sequence[object]) -> float:
    """Return the distance of some made images from the real ones; repeated images count repeatedly.

    An image is never compared with itself, drawn twice or not, unless it is the only one.
    """
    images = cast("Sequence[MadeImage]", rows)
    kernels = images[0].kernels
    counts = np.bincount([row.place for row in images], minlength=len(kernels.own)).astype(float)
    pairs = float(counts.sum() ** 2 - counts @ counts)
    whole = float(counts @ kernels.own @ counts)
    itself = float((counts**2) @ np.diag(kernels.own))
    count = float(counts.sum())
    own = (whole - itself) / pairs if pairs else itself / count**2
    return own + kernels.real - 2 * float(counts @ kernels.cross) / count


def _kernel(a: F64, b: F64) -> F64:
    kernel: F64 = (a @ b.T / a.shape[1] + 1) ** 3
    return kernel
