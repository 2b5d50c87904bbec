"""Reads how a line's versions differ, from the answer of the process that ran them."""

from collections.abc import Mapping, Sequence
from typing import cast

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
    single = pool_spreads([_number(one, "spread") for one in beside_other], measure.spread)
    return VersionSpread(
        # Two versions that happen to agree say little about the next one.
        single=max(single, LITTLE * measure.spread),
        single_base=pool_spreads([_number(one, "spread") for one in beside_base], measure.spread),
        gains=tuple(sign * _number(one, "change") for one in beside_base),
        drifts=tuple(sign * _number(one, "change") for one in beside_other),
    )


def least_reached(name: str, items: Sequence[Fields]) -> float | None:
    """Return the least that a version reached on a probe set by itself; None where none was measured."""
    values = [_number(one, "b_value") for one in items if one["set"] == name and one["a"] == BASE]
    return min(values, default=None)


def _number(one: Fields, key: str) -> float:
    return cast(float, one[key])
