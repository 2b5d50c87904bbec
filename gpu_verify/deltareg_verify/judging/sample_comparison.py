"""From values of samples to a finding, beside the base or the promoted version.

The statistics are those of all comparisons; a check supplies the values and their aggregation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from deltareg.errors import InvalidInput
from deltareg.suites.probe_set import Samples
from deltareg.suites.samples import lacking
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide, MeasureChange
from deltareg_verify.judging.check import Finding
from deltareg_verify.judging.task_measure import Aggregate, Values, measure
from deltareg_verify.judging.threshold_rule import as_change, compare_with_rivals

Take = Callable[[EngineSide, Samples], Values | None]


def mean(values: Values) -> float:
    """Return the mean of the values that are numbers."""
    return float(np.mean(np.array(values, np.float64)))


@dataclass(frozen=True, slots=True)
class SampleMeasure:
    """A measure over values of samples.

    Attributes:
        told: The measure, in words.
        needs: What the measure requires, for versions without it.
        by: `mean` of the values, `weighted_perplexity` of (log-likelihood, tokens), or anything
            else for what only all values together have.
        aggregate: The function of that aggregation.
        also: Describes more of this version's values.
        is_between: Whether the measure is how far the two are apart: `aggregate` then gets pairs,
            and the baseline is how far the other is apart from itself.
    """

    description: str
    needs: str
    by: str = "mean"
    aggregate: Aggregate = mean
    also: Callable[[Values], str] | None = None
    is_between: bool = False


def rows_compared(case: Case, spec: CheckSpec, take: Take, measured: SampleMeasure) -> Finding:
    """Take values of both on the check's probe set, and compare their aggregate with its threshold.

    Args:
        case: The version.
        spec: The check.
        take: Returns one value per sample; None for a network without any. The same samples must
            have a value on both sides.
        measured: The measure.

    Raises:
        InvalidInput: The probe set lacks what the check needs.
    """
    samples = case.samples(spec.probes)
    lost = None if spec.form is None else lacking(spec.form, samples)
    if lost is not None:
        raise InvalidInput(f"the samples have no {lost[0]}", fix=lost[1])
    taken: dict[tuple[int, str], Values | None] = {}

    def values_of(side: EngineSide) -> Values | None:
        key = (id(side.engine), side.state)
        if key not in taken:
            taken[key] = take(side, samples)
        return taken[key]

    ours = values_of(EngineSide(case.engine, "attached"))
    addition = f" ({measured.also(ours)})" if ours and measured.also is not None else ""
    return compare_with_rivals(
        case,
        spec,
        partial(_change, values_of, measured, case.suite.seed),
        planned=(len(samples),),
        told=f"{measured.description}{addition}",
        needs=measured.needs,
        is_between=measured.is_between,
    )


def _change(
    values_of: Callable[[EngineSide], Values | None],
    measured: SampleMeasure,
    seed: int,
    before: EngineSide,
    after: EngineSide,
    _count: int,
) -> MeasureChange | None:
    ours = values_of(after)
    theirs = values_of(before) if ours else None
    if not ours or not theirs:
        return None
    if measured.is_between:
        ours, theirs = _pairs(ours, theirs), _pairs(theirs, theirs)
    measures = measure(ours, theirs, by=measured.by, aggregate=measured.aggregate, seed=seed)
    return as_change(measures.found, measures.baseline, measures.change)


def _pairs(ours: Values, theirs: Values) -> Values:
    return list(zip(ours, theirs, strict=True))
