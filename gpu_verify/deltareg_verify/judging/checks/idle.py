"""No part of a trained delta is still zero while others moved.

A product whose second factor is still zero was set up and never trained: a frozen pipeline stage,
an optimizer that was given the head alone. Such a part takes part in every forward and changes
nothing, so no other check sees it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from deltareg.delta.kind import Account, WeightUpdate
from deltareg.delta.maths.formula import StoredUpdate, Tensor
from deltareg.delta.maths.updates import ScaledAddition
from deltareg.delta.updates_sparse import SparseElements
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg.tensors.array import to_f32, view
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks.norm_ratio import layer_type

_CODE = "partial_application"
_EXPERT = ".experts."
_FLOATS = {"F64", "F32", "F16", "BF16"}


def run(case: Case, spec: CheckSpec) -> Finding:
    """Count the weights for which a delta computes a change that is zero."""
    computed = computed_targets(case.account)
    sized = case.changes
    changes = [change for change in sized if change.target in computed]
    if not changes:
        return _judge_stored(sized)
    idle = [change.target for change in changes if not change.delta_rms]
    if not idle:
        return Finding("pass", 0, 0, detail=f"all of {len(changes)} weights change")
    most = spec.number("most_idle")
    share = len(idle) / len(changes)
    roles = _zero_roles(case, idle)
    zero = f"{' and '.join(roles)} {'is' if len(roles) == 1 else 'are'} zero" if roles else ""
    detail = f"{len(idle)} of {len(changes)} weights do not change"
    if len(idle) == len(changes):
        is_all = not any(change.delta_rms for change in sized)
        code = "no_effect" if is_all else _CODE
        reason = f": {zero} everywhere, as before training" if roles else ": nothing was trained"
        return Finding("fail", share, most, code=code, detail=detail + reason)
    detail = f"{detail}{zero and f' ({zero})'}, such as {idle[0]}"
    worst = partly_idle(changes)
    if worst > most:
        return Finding("fail", worst, most, code=_CODE, detail=detail)
    return Finding("warn", share, most, code=_CODE, detail=detail)


def _zero_roles(case: Case, idle: Collection[str]) -> list[str]:
    """Name the roles whose tensors are zero in every idle weight, such as lora_B; empty where none are."""
    roles: dict[str, bool] = {}
    for effect in case.account.effects:
        if isinstance(effect, WeightUpdate) and effect.target in idle:
            for name, role in effect.consumes.items():
                roles[role] = roles.get(role, True) and _is_zero(case.folder.tensors[name])
    return sorted(role for role, is_zero in roles.items() if is_zero)


def _is_zero(tensor: Tensor) -> bool:
    return tensor.dtype in _FLOATS and not to_f32(view(tensor.read(), tensor.dtype, tensor.shape), tensor.dtype).any()


def _judge_stored(changes: Sequence[WeightChange]) -> Finding:
    """Report stored weights that equal the base's own: frozen layers, or a file half written."""
    if not changes:
        return Finding("n/a", detail="the delta acts on activations alone")
    share = partly_idle(changes)
    if not share:
        return Finding("n/a", detail="the delta holds whole weights")
    idle = sum(not change.delta_rms for change in changes)
    detail = (
        f"{idle} of {len(changes)} stored weights are the base's own while their like in other"
        " layers changed: layers were frozen, or the checkpoint was half written"
    )
    return Finding("warn", share, 0, code=_CODE, detail=detail)


def computed_targets(account: Account) -> Collection[str]:
    """Return the weights whose change is computed from trained parts, not stored as it is.

    A stored weight may well be the base's own: a full tune with frozen layers is no mistake.
    """
    return {
        effect.target
        for effect in account.effects
        if isinstance(effect, WeightUpdate)
        and not isinstance(effect.update, (StoredUpdate, ScaledAddition, SparseElements))
    }


def partly_idle(changes: Sequence[WeightChange]) -> float:
    """Return the largest share of still weights within a layer type of which others moved.

    A whole type may stand still rightly: the vision tower of a delta that was trained on text. So
    may an expert to which no token was sent.
    """
    return partly_still({c.target: not c.delta_rms for c in changes if _EXPERT not in c.target})


def partly_still(parts: Mapping[str, bool]) -> float:
    """Return the largest share of still parts within a layer type of which others moved.

    Args:
        parts: Whether each part is still, by name.
    """
    types: dict[str, list[bool]] = defaultdict(list)
    for name, is_still in parts.items():
        types[layer_type(name)].append(is_still)
    shares = [sum(still) / len(still) for still in types.values() if not all(still)]
    return max(shares, default=0.0)


CHECK = Check(
    "idle",
    run,
    CheckForm(
        "every part that was set up has moved",
        {"most_idle": "0.25"},
        may_not_apply=True,
        fix="what was frozen, or not in the optimizer? save after trainer.train()",
    ),
    is_static=True,
)
