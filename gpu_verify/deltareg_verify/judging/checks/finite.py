"""No stored value is NaN or infinite."""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding

CODE = "non_finite"


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Look at every element of every tensor."""
    sick = sorted(problem.tensor for problem in case.evidence if problem.code == CODE)
    if sick:
        detail = f"NaN or infinity in {', '.join(sick[:3])}"
        return Finding("fail", value=len(sick), threshold=0, code=CODE, detail=detail)
    return Finding("pass", value=0, threshold=0)


CHECK = Check(
    "finite",
    run,
    CheckForm(
        "no stored value is NaN or infinite",
        fix="look for NaN in the loss of the training, and push an earlier checkpoint",
    ),
    is_static=True,
)
