"""Reads how a line's versions differ, from the answer of the process that ran them."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from deltareg.statistics.redrawing import PairedSamples
from deltareg.suites.drafting.measures import LITTLE, DraftMeasure
from deltareg.suites.drafting.sizes import VersionSpread, pool_spreads

Fields = Mapping[str, object]
BASE = "base"


def spread_on(name: str, items: Sequence[Fields], measure: DraftMeasure) -> VersionSpread:
    """Return the spread of healthy versions on a probe set.

    Args:
        name: The name of the probe set.
        items: The measurements of each version, compared with the base and with the version before
            it.
        measure: The measure.
    """
    own = [one for one in items if one["set"] == name]
    sign = 1.0 if measure.greater_is_better else -1.0
    beside_base = [one for one in own if one["a"] == BASE]
    beside_other = [one for one in own if one["a"] != BASE]
    samples = _paired_samples(beside_other, measure)
    single = pool_spreads([_number(one, "spread") for one in beside_other], measure.spread)
    return VersionSpread(
        # A version with noise on it is no second one, and says little about the next.
        single=max(single, LITTLE * measure.spread) if samples is None else samples.spread,
        single_base=pool_spreads([_number(one, "spread") for one in beside_base], measure.spread),
        gains=tuple(sign * _number(one, "change") for one in beside_base),
        drifts=tuple(sign * _number(one, "change") for one in beside_other),
        samples=samples,
    )


def least_reached(name: str, items: Sequence[Fields]) -> float | None:
    """Return the least that a version reached on a probe set by itself; None where none was measured."""
    values = [_number(one, "b_value") for one in items if one["set"] == name and one["a"] == BASE]
    return min(values, default=None)


def _paired_samples(items: Sequence[Fields], measure: DraftMeasure) -> PairedSamples | None:
    """Return the samples of all pairs of versions that were trained; None where there are none."""
    drawn = [cast("Sequence[Sequence[float]]", one["samples"]) for one in items if "samples" in one]
    if not drawn:
        return None
    before, after, sizes = (np.concatenate([np.asarray(part[at], np.float64) for part in drawn]) for at in range(3))
    return PairedSamples(before, after, sizes, is_share=measure.is_share, is_upward=measure.greater_is_better)


def _number(one: Fields, key: str) -> float:
    return cast(float, one[key])
