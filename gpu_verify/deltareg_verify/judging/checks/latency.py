"""How much slower a forward is with the delta attached than that of the base alone."""

from statistics import median

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.estimate import Estimate
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.threshold_rule import judge_measure


def run(case: Case, spec: CheckSpec) -> Finding:
    """Time forwards on the probe; the median of each state counts."""
    count = int(spec.number("forwards"))
    base = median(case.engine.seconds("base", count))
    times = sorted(case.engine.seconds("attached", count))
    ratio = Estimate(median(times) / base, times[0] / base, times[-1] / base, count)
    detail = f"{1000 * median(times):.3g} ms a forward, {1000 * base:.3g} ms without; times the base"
    return judge_measure(spec, ratio, 1.0, told=detail)


CHECK = Check(
    "latency",
    run,
    CheckForm(
        "how much slower a forward is than the base's",
        {"forwards": 5, "worse": "fail"},
        counts=("forwards",),
        takes_threshold=True,
        against=("base",),
    ),
)
