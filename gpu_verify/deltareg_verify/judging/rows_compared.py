"""From values of samples, one or more a sample, to a finding: beside the base or the promoted one.

The statistics are those of all comparisons; a check brings the values and says what they add up to.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deltareg.errors import InvalidInput
from deltareg.suites.probe_set import Samples
from deltareg.suites.samples import lacking
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.judging.check import Finding
from deltareg_verify.judging.measured import judge_measure, no_rival, report_unmeasured, rival
from deltareg_verify.judging.task_measure import Aggregate, Values, measure

Take = Callable[[EngineSide, Samples], Values | None]


def mean(values: Values) -> float:
    """Give the mean of values that are numbers."""
    return float(np.mean(np.array(values, np.float64)))


@dataclass(frozen=True, slots=True)
class SampleMeasure:
    """What is measured.

    Attributes:
        told: In words.
        needs: What it takes, for a version of which there is no measure.
        by: `mean` of the values, `weighted_perplexity` of (log-likelihood, tokens), or anything
            else for what only all values together have.
        aggregate: That.
        also: More to say about the values of this version.
        is_between: Whether it is measured how far the two are apart: `aggregate` then gets pairs,
            and the baseline is how far the other is apart from itself.
    """

    description: str
    needs: str
    by: str = "mean"
    aggregate: Aggregate = mean
    also: Callable[[Values], str] | None = None
    is_between: bool = False


def rows_compared(case: Case, spec: CheckSpec, take: Take, measured: SampleMeasure) -> Finding:
    """Take values of both on the check's probe set, and hold what they add up to against its mark.

    Args:
        case: The version.
        spec: The check.
        take: Gives one value a sample; None of a network that has none. The same samples must have
            a value on both sides.
        measured: What the values are.

    Raises:
        InvalidInput: The probe set does not have what the check needs.
    """
    other = rival(case, spec)
    if other is None:
        return no_rival(case, spec, spec.against)
    samples = case.samples(spec.probes)
    lost = None if spec.form is None else lacking(spec.form, samples)
    if lost is not None:
        raise InvalidInput(f"the samples have no {lost[0]}", fix=lost[1])
    ours = take(EngineSide(case.engine, "attached"), samples)
    theirs = take(other, samples) if ours else None
    if not ours or not theirs:
        return report_unmeasured(case, spec, f"needs {measured.needs}")
    addition = "" if measured.also is None else f" ({measured.also(ours)})"
    if measured.is_between:
        ours, theirs = _pairs(ours, theirs), _pairs(theirs, theirs)
    measures = measure(ours, theirs, by=measured.by, aggregate=measured.aggregate, seed=case.suite.seed)
    return judge_measure(
        spec, measures.found, measures.baseline, told=f"{measured.description}{addition}", change=measures.change
    )


def _pairs(ours: Values, theirs: Values) -> Values:
    return list(zip(ours, theirs, strict=True))
