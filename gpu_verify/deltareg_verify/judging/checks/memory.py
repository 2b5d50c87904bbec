"""The most memory held: on the device, or by the process on a CPU."""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.estimate import Estimate
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.threshold_rule import judge_measure


def run(case: Case, spec: CheckSpec) -> Finding:
    """Read the peak so far."""
    peak = float(case.engine.peak_bytes())
    return judge_measure(spec, Estimate(peak, peak, peak, 1), None, told="bytes at most")


CHECK = Check("memory", run, CheckForm("the most memory held, in bytes", {"worse": "fail"}, takes_threshold=True))
