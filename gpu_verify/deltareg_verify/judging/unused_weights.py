"""The effects of a delta on weights that no forward uses."""

from deltareg.delta.kind import WeightUpdate
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import FiredEffects


def find_unused(case: Case) -> tuple[list[str], list[str]]:
    """Return the effects that no forward uses: those that change something, and those that do not.

    A part of a network that its class never runs gets no gradient, so training leaves it as it is.
    A weight that is used under another name, with the same values, is used; and a name that its class never
    calls acts on nothing, whatever goes in.
    """
    at_hand = [name for name in case.fired.silent if name not in case.fired.shadowed]
    silent = [name for name in at_hand if not _is_other_name(case, name)]
    if not silent:
        return [], []
    same = {change.target for change in case.changes if not change.delta_rms}
    return [n for n in silent if n not in same], [n for n in silent if n in same]


def lacking(fired: FiredEffects) -> str:
    """Say which inputs a probe lacks, behind which a weight may be used, and what decides instead."""
    kinds = " and ".join(fired.undrawn)
    return f"there is no probe of its {kinds}; give the suite samples of its own, and `probe: {{set: NAME}}`"


def _is_other_name(case: Case, name: str) -> bool:
    """Return whether a weight is tied to one that is used, with the same values from the delta."""
    digests = _list_digests(case, name)
    others = {*case.base.view.names.sharers(name).values()} - {*case.fired.silent}
    return bool(digests) and any(_list_digests(case, other) == digests for other in others)


def _list_digests(case: Case, target: str) -> list[str]:
    """Return digests of the tensors that the delta has for a weight, its own or those of a twin."""
    records = case.manifest.records()
    updates = [e for e in case.account.effects if isinstance(e, WeightUpdate)]
    # A name whose tie came undone has the formula of the one that it shared its tensor with.
    consumed_by = {id(e.update): e.consumes for e in updates if e.consumes}
    own = (e for e in updates if e.target == target)
    consumed = (name for e in own for name in consumed_by.get(id(e.update), ()))
    return sorted(str(records[name].digest) for name in consumed)
