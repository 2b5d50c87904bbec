"""The same input gives the same output twice."""

import numpy as np

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import OTHER_SEED, Outputs, State
from deltareg_verify.judging.check import Check, Finding

_CODE = "non_deterministic"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Generate greedily twice; run forward twice without a generative head, or for no tokens.

    The second forward has another seed, so that random drawing shows. A network that draws without
    the delta, as ViLT does the order of its patches, only warns.
    """
    count = int(spec.number("new_tokens"))
    first = case.engine.generate(count) if count else None
    if first is None:
        return _forwards(case)
    second = case.engine.generate(count)
    differing = int(np.count_nonzero(first != second))
    return _finding(differing, f"two greedy generations of {count} tokens")


def _forwards(case: Case) -> Finding:
    differing = _differing(case, "attached")
    if differing and _differing(case, "base"):
        detail = "two forwards differ, and so do two of the base: it draws at random"
        return Finding("warn", differing, 0, code=_CODE, detail=detail)
    return _finding(differing, "two forwards")


def _differing(case: Case, state: State) -> int:
    """Count the elements that differ between two forwards."""
    first = case.outputs(state)
    earlier = case.fired.outputs if state == "attached" else None
    second = case.engine.outputs(state, seed=OTHER_SEED) if earlier is None else earlier
    return sum(_unequal(first, second, name) for name in first)


def _unequal(first: Outputs, second: Outputs, name: str) -> int:
    one, other = first[name], second[name]
    if one.shape != other.shape:
        return one.size
    # As bits: a NaN that comes twice is no difference, and another check's finding.
    return int(np.count_nonzero(one.view(np.int32) != other.view(np.int32)))


def _finding(differing: int, what: str) -> Finding:
    if differing:
        return Finding("fail", differing, 0, code=_CODE, detail=f"{what} differ")
    return Finding("pass", differing, 0, detail=f"{what} are equal")


CHECK = Check(
    "deterministic",
    run,
    CheckForm(
        "the same input gives the same output twice",
        {"new_tokens": 8},
        counts=("new_tokens",),
        fix="look for a module left in training mode; then verify it --again",
    ),
)
