"""Samples of two healthy versions as they occur, and what the gate decides on new ones of them."""

from functools import cache

import numpy as np

from deltareg.statistics.intervals import mean_interval, paired_interval
from deltareg.statistics.redrawing import PairedSamples

RUNS = 4_000


def _losses(seed, *, tail, tokens):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(tokens[0], tokens[1], 100).astype(float)
    before = generator.normal(2.5, 0.4, 100) * sizes
    noise = generator.standard_t(tail, 100) * 0.12 if tail else generator.normal(0, 0.12, 100)
    return PairedSamples(before, before + noise * sizes, sizes, is_upward=False)


def _shares(seed, right, changed):
    generator = np.random.default_rng(seed)
    before = (generator.random(200) < right).astype(float)
    after = np.where(generator.random(200) < changed, 1 - before, before)
    return PairedSamples(before, after, np.ones(200), is_share=True)


def _scores(seed):
    generator = np.random.default_rng(seed)
    before = generator.beta(4, 1.5, 120)
    after = np.clip(before + np.where(generator.random(120) < 0.3, generator.normal(0, 0.3, 120), 0.0), 0, 1)
    return PairedSamples(before, after, np.ones(120))


POPULATIONS = {
    "losses of texts": _losses(1, tail=0, tokens=(5, 60)),
    "losses with a long tail": _losses(2, tail=3, tokens=(3, 200)),
    "scores that mostly agree": _scores(3),
    "shares, 80 % right": _shares(4, 0.8, 0.08),
    "shares, 95 % right": _shares(5, 0.95, 0.03),
}


def decisions(samples, n, margin, *, loss, lumps, seed=99):
    """Give how often a version with a loss passes and how often it fails, on samples drawn anew."""
    generator = np.random.default_rng(seed)
    passes = fails = 0
    sign = 1.0 if samples.is_upward else -1.0
    gain = sign * (samples.after - samples.before)
    gain = gain - samples.sizes * gain.sum() / samples.sizes.sum()
    right = (samples.before.mean() + samples.after.mean()) / 2
    for _ in range(RUNS):
        rows = generator.integers(0, len(samples), n)
        if samples.is_share:
            swapped = generator.random(n) < 0.5
            a = np.where(swapped, samples.after[rows], samples.before[rows])
            b = np.where(swapped, samples.before[rows], samples.after[rows])
            b = np.where(generator.random(n) < loss / right, 0.0, b)
            gained, lost = int((b > a).sum()), int((b < a).sum())
            interval = _paired(gained, lost, n)
        else:
            has = np.ones(n) if not lumps else (generator.random(n) < lumps) / lumps
            parts = gain[rows] - loss * has * samples.sizes[rows]
            interval = mean_interval(parts, samples.sizes[rows])
        passes += interval.low >= -margin
        fails += interval.high < -margin
    return passes / RUNS, fails / RUNS


@cache
def _paired(gained, lost, n):
    return paired_interval(gained, lost, n)
