"""The same input gives the same output twice."""

import numpy as np

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Check, Finding


def run(case: Case, spec: CheckSpec) -> Finding:
    """Generate greedily twice; run forward twice where there is no generative head."""
    count = int(spec.number("new_tokens"))
    first = case.engine.generate(count)
    if first is None:
        return _forwards(case)
    second = case.engine.generate(count)
    differing = int(np.count_nonzero(first != second))
    return _finding(differing, f"two greedy generations of {count} tokens")


def _forwards(case: Case) -> Finding:
    first, second = case.outputs("attached"), case.engine.outputs("attached")
    # As bits: a NaN that comes twice is no difference, and another check's finding.
    pairs = [(first[name].view(np.int32), second[name].view(np.int32)) for name in first]
    differing = sum(int(np.count_nonzero(one != other)) for one, other in pairs)
    return _finding(differing, "two forwards")


def _finding(differing: int, what: str) -> Finding:
    if differing:
        return Finding("fail", differing, 0, code="non_deterministic", detail=f"{what} differ")
    return Finding("pass", differing, 0, detail=f"{what} are equal")


CHECK = Check(
    "deterministic",
    run,
    CheckForm(
        "the same input gives the same output twice", {"new_tokens": 8}, counts=("new_tokens",)
    ),
)
