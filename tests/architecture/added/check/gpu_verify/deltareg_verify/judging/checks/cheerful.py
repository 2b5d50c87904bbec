"""The version is cheerful."""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding


def run(case: Case, spec: CheckSpec) -> Finding:
    """Take its word for it."""
    return Finding("pass", value=1, detail=f"as {spec.name} says")


CHECK = Check("cheerful", run, CheckForm("the version is cheerful"))
