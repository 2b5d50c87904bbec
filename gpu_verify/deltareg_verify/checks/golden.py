"""Base and delta give here what they gave to the one who trained it."""

from deltareg.errors import InvalidInput
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.golden import GOLDEN_FILE, compare, decode
from deltareg.suites.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding
from deltareg_verify.dtypes import TOLERANCES

_CODE = "golden_differs"
_UNTOLD = "not_self_contained"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compute the recorded outputs again, with the delta attached."""
    if GOLDEN_FILE not in case.folder.files.sizes:
        return _without(case)
    golden = decode((case.folder.path / GOLDEN_FILE).read_bytes())
    engine = case.engine
    tolerance, least = spec.number(TOLERANCES[engine.dtype]), spec.number("least_agreement")
    try:
        outputs = engine.outputs_for("attached", golden.inputs)
    except InvalidInput as error:
        detail = f"the base does not take the recorded inputs: {error.message}"
        return Finding("fail", None, tolerance, code=_CODE, detail=detail)
    found = compare(golden, outputs)
    told = f"{found.output}, the largest value agrees at {found.agreement:.1%} of the positions"
    # A NaN is not within any tolerance.
    if found.difference <= tolerance and found.agreement >= least:
        return Finding("pass", found.difference, tolerance, detail=told)
    return Finding("fail", found.difference, tolerance, code=_CODE, detail=told)


def _without(case: Case) -> Finding:
    """Say that nothing was recorded: too little, where the files may not be all there is."""
    for problem in case.account.problems:
        if problem.code == _UNTOLD:
            told = f"{problem.message}; golden outputs decide it: deltareg push --golden FILE"
            return Finding("fail", code=_UNTOLD, detail=told)
    return Finding("n/a", detail="the version was pushed without golden outputs")


CHECK = Check(
    "golden",
    run,
    CheckForm(
        "it gives what it gave to the one who trained it",
        {"f32": "0.001", "bf16": "0.2", "f16": "0.05", "least_agreement": "0.95"},
        may_not_apply=True,
    ),
)
