"""The delta does something: every effect takes part in a forward, and outputs change by enough.

Enough is more than rounding to bfloat16 removes: weights that were saved before the average of them
began, or the optimizer's state under their names, change outputs by a thousandth of what they vary
by, and nobody who serves the version would see it.

A bottleneck whose last matrix is still zero takes part as well, and returns its input unchanged:
`idle` finds the same in weights.
"""

from collections.abc import Sequence

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.arrays import all_finite, largest_difference, spread_moved
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import FiredEffects
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks.idle import partly_still
from deltareg_verify.judging.unused_weights import find_unused, lacking

_CODE = "partial_application"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the outputs of base and delta on the probe."""
    least = spec.number("min_absolute_change")
    base, attached = case.outputs("base"), case.outputs("attached")
    sick = sorted(name for name, values in attached.items() if not all_finite(values))
    if sick:
        detail = f"the output {sick[0]} is not finite on the probe"
        return Finding("fail", None, least, code="non_finite", detail=detail)
    fired = case.fired
    silent, dead = find_unused(case)
    share, still = _still(fired)
    refused = _report_unused(fired, silent) or _half_still(spec, share, still)
    if refused is not None:
        return refused
    change = largest_difference(base, attached)
    summary = f"{fired.effects} effects took part"
    if fired.not_exercised:
        summary += f"; not exercised, the base has no place for them: {', '.join(fired.not_exercised)}"
    if not change > least:
        detail = f"outputs with the delta are those of the base; {summary}"
        return Finding("fail", change, least, code="no_effect", detail=detail)
    share_moved, least_share = spread_moved(base, attached), spec.number("least_share")
    if not share_moved >= least_share:
        detail = (
            f"outputs with the delta differ from the base's by {share_moved:.2g} of what they vary"
            f" by, which rounding to bfloat16 hides; {summary}"
        )
        return Finding("fail", share_moved, least_share, code="no_effect", detail=detail)
    doubts = [*_describe_dead(dead, fired.shadowed), *([still] if share else [])]
    moved = f"they move outputs by {share_moved:.2g} of what these vary by"
    return Finding("warn" if doubts else "pass", change, least, detail="; ".join([summary, moved, *doubts]))


def _describe_dead(dead: Sequence[str], shadowed: Sequence[str]) -> list[str]:
    """Describe what takes no part and need not: it changes nothing, or nothing can reach it."""
    described: list[str] = []
    if dead:
        described.append(f"no forward uses {', '.join(dead[:3])}, and the delta leaves that as it is")
    if shadowed:
        names = ", ".join(shadowed[:3])
        described.append(f"the network never calls {names} by that name, so it acts there only once merged")
    return described


def _report_unused(fired: FiredEffects, silent: Sequence[str]) -> Finding | None:
    """Report effects that took no part, or could not; None where all did."""
    if silent:
        detail = f"no forward uses {', '.join(silent[:3])}"
        if fired.undrawn:
            return Finding("skipped", len(silent), detail=f"{detail}: {lacking(fired)}")
        return Finding("fail", len(silent), 0, code=_CODE, detail=detail)
    if fired.homeless:
        places = ", ".join(fired.homeless[:3])
        return Finding("skipped", detail=f"the network in memory has no place for {places}")
    if not fired.effects:
        places = ", ".join(fired.not_exercised[:3])
        return Finding("skipped", detail=f"the base's class has no place for anything: {places}")
    return None


def _half_still(spec: CheckSpec, share: float, told: str) -> Finding | None:
    most = spec.number("most_still")
    return Finding("fail", share, most, code=_CODE, detail=told) if share > most else None


def _still(fired: FiredEffects) -> tuple[float, str]:
    """Return the largest share of still hooks within a layer type of which others moved, and describe it."""
    still = {name: not has_moved for name, has_moved in fired.moved.items()}
    first = next((name for name, is_still in still.items() if is_still), "")
    detail = f"{sum(still.values())} of {len(still)} give back what they are given, such as {first}"
    return partly_still(still), detail


CHECK = Check(
    "effect",
    run,
    CheckForm(
        "outputs change by more than rounding hides, and every part takes part",
        {"min_absolute_change": "0.000001", "most_still": "0.25", "least_share": "0.002"},
        fix="was it trained, and on this base? compare names with target_modules",
    ),
)
