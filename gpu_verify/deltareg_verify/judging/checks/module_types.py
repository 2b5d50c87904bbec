"""Every type of module that the delta was set up for has moved.

`idle` finds single weights of a type that stand still. Where all of a type do, such as every q_proj
of a decoder whose v_proj were trained, an optimizer got half of the parameters, or half of them
were saved at their initial values. A part that the network never runs gets no gradient and rightly
stands still, which one forward shows. So does one that another call of the network leaves out, such as
BLIP's attention across its towers where it was trained to compare their vectors.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks.idle import computed_targets
from deltareg_verify.judging.checks.norm_ratio import layer_type
from deltareg_verify.judging.unused_weights import find_unused

_CODE = "partial_application"


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Look for types of which none moved, in stacks of layers in which others did."""
    computed = computed_targets(case.account)
    moved = {c.target: bool(c.delta_rms) for c in case.changes if c.target in computed}
    if not any(moved.values()):  # `idle` says so
        return Finding("n/a", detail="no computed change moves a weight")
    types = _types(moved)
    still = sorted(name for name, has_moved in types.items() if not has_moved)
    alive = {_stack(name) for name, has_moved in types.items() if has_moved}
    sick = [name for name in still if _stack(name) in alive]
    summary = f"{len(types) - len(still)} of {len(types)} types of module moved"
    dead = _never_run(case, moved, sick) if sick else []
    sick = [name for name in sick if name not in dead]
    optional = _left_out(case, moved, sick) if sick else []
    sick = [name for name in sick if name not in optional]
    if sick:
        detail = f"{summary}; all of {', '.join(sick[:3])} stand still, and others beside them do not"
        return Finding("fail", len(sick), 0, code=_CODE, detail=detail)
    if dead:
        detail = f"{summary}; no forward uses {', '.join(dead[:3])}, and the delta leaves them alone"
        return Finding("warn", len(dead), 0, code=_CODE, detail=detail)
    if optional:
        detail = f"{summary}; nothing moved in {', '.join(optional[:3])}, which the network can be called without"
        return Finding("warn", len(optional), 0, code=_CODE, detail=detail)
    if still:  # a tower that the data did not reach
        detail = f"{summary}; nothing moved in {', '.join(sorted(set(map(_stack, still)))[:3])}"
        return Finding("warn", len(still), 0, code=_CODE, detail=detail)
    return Finding("pass", 0, 0, detail=summary)


def _never_run(case: Case, moved: Collection[str], kinds: Sequence[str]) -> list[str]:
    """Return the types of which no forward uses any part, or runs any, as such parts get no gradient.

    What computes with the weight of a module and does not run it passes over an adapter there.
    """
    _, unused = find_unused(case)
    dead = {*unused, *case.engine.find_read_directly(moved)}
    live_types = {layer_type(name) for name in moved if name not in dead}
    return [kind for kind in kinds if kind not in live_types]


def _left_out(case: Case, moved: Collection[str], kinds: Sequence[str]) -> list[str]:
    """Return the types all of which some other call of the network leaves out."""
    optional = case.engine.find_optional()
    needed_types = {layer_type(name) for name in moved if name not in optional}
    return [kind for kind in kinds if kind not in needed_types]


def _types(moved: Mapping[str, bool]) -> dict[str, bool]:
    """Return for each type whether any of it moved; experts of a layer are one type."""
    by_type: dict[str, bool] = defaultdict(bool)
    for name, has_moved in moved.items():
        if "*" in (kind := layer_type(name)):  # one of a kind says nothing of kinds
            by_type[kind] |= has_moved
    return dict(by_type)


def _stack(kind: str) -> str:
    """Name the stack of layers that a type belongs to."""
    return kind.partition(".*.")[0]


CHECK = Check(
    "module_types",
    run,
    CheckForm(
        "every type of module that was set up has moved",
        may_not_apply=True,
        fix="give all of target_modules to the optimizer, or take the idle ones out",
    ),
    is_static=True,
)
