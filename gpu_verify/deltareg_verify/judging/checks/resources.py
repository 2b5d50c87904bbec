"""What the verification took: seconds and the most memory. It only reports."""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Measure from the case's start to now."""
    seconds = round(case.clock() - case.started, 3)
    peak = case.engine.peak_bytes()
    return Finding("pass", value=seconds, detail=f"{seconds:g} s, at most {peak / 1e6:.0f} MB")


CHECK = Check("resources", run, CheckForm("what the verification took", only_reports=True))
