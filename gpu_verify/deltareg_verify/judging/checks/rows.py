"""No row of a weight changes far more than the others of its matrix.

One token's embedding, one unit of a layer: an overwritten row hides in the norm of its matrix,
which is what `norm_ratio` measures.
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.judging.check import Check, Finding


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the row that changes most with the median one, and with the weight's size.

    Both must be exceeded: a matrix of which only some rows were trained has no usual row, and a
    small change of one row does little.
    """
    changes = [change for change in case.changes if change.row_middle > 0]
    if not changes:
        return Finding("n/a", detail="no effect changes rows of a matrix")
    floor = spec.number("matrix_floor")
    factor, cap = spec.number("fail_over_median"), spec.number("fail_above")
    sick = [c for c in changes if _times(c) > factor and _size(c, floor) > cap]
    if sick:
        worst = max(sick, key=_times)
        detail = f"{_describe_row(worst, floor)}: a row was overwritten, or not trained as the others"
        return Finding("fail", _times(worst), factor, code="norm_ratio", detail=detail)
    worst = max(changes, key=_times)
    return Finding("pass", _times(worst), factor, detail=_describe_row(worst, floor))


def _times(change: WeightChange) -> float:
    return change.row_peak / change.row_middle


def _size(change: WeightChange, floor: float) -> float:
    return change.row_peak / max(change.weight_rms, floor)


def _describe_row(change: WeightChange, floor: float) -> str:
    return (
        f"row {change.row} of {change.target} changes {_times(change):.3g} times as much as the"
        f" middle row of it, by {_size(change, floor):.3g} times the size of the weight"
    )


CHECK = Check(
    "rows",
    run,
    CheckForm(
        "no row changes far more than its matrix",
        {"fail_over_median": 20, "fail_above": 3, "matrix_floor": "0.01"},
        may_not_apply=True,
        fix="look at the rows that it names: were tokens added or overwritten?",
    ),
    is_static=True,
)
