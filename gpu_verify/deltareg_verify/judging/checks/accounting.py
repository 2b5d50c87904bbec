"""Every tensor is consumed by exactly one effect, and every effect fits its place in the base.

Copies of base weights in the delta must be this base's, and values must be meant as they are read.
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding, refusal
from deltareg_verify.judging.checks.finite import CODE as NON_FINITE


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Account for the delta anew, from its headers and the base's, then from the numbers."""
    account = case.account
    errors = [problem for problem in account.problems if problem.severity == "error"]
    if errors:
        return refusal(errors[0], value=len(errors))
    unaccounted = sorted({t.name for t in case.manifest.tensors} - set(account.roles))
    if unaccounted:
        detail = f"no effect consumes {', '.join(unaccounted[:3])}"
        return Finding("fail", value=len(unaccounted), code="unexpected_tensors", detail=detail)
    problems = [problem for problem in case.evidence if problem.code != NON_FINITE]
    wrong = [problem for problem in problems if problem.severity == "error"]
    if wrong:
        return refusal(wrong[0], value=len(wrong))
    notes = [problem.message for problem in (*account.problems, *problems)]
    return Finding("warn" if notes else "pass", value=account.modules, detail="; ".join(notes))


CHECK = Check(
    "accounting",
    run,
    CheckForm(
        "every tensor has one use, and every use fits the base",
        fix="see which tensors fit nothing: deltareg lint FOLDER --base BASE",
    ),
    is_static=True,
)
