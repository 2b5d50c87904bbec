"""Rows of an embedding that a head shares, which the library does not always serve in one way.

A head that shares the embedding gets the same rows. Until they are merged the library computes it
without its bias, afterwards with it. If an inner network has the head, the library does not ask
that network which weights it ties: until the rows are merged, such a head has the base's rows.
"""

from collections.abc import Sequence

from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.delta.layouts.peft.trained import TrainedNetwork
from deltareg.delta.maths.updates import RowReplacement
from deltareg.errors import Problem

_WEIGHT = ".weight"


def two_readings(effects: Sequence[Effect], trained: TrainedNetwork, base: BaseView) -> list[Problem]:
    """Find a head, or its bias, that the library serves differently once the rows are merged.

    Args:
        effects: The effects of the delta.
        trained: The network that was trained; one of another class has no such head.
        base: The base.
    """
    if trained.on and not trained.is_base_class:
        return []
    rows = [e for e in effects if isinstance(e, WeightUpdate) and isinstance(e.update, RowReplacement)]
    for effect in rows:
        twin, without = _served_later(effect.target, base)
        if twin:
            message = f"{twin} shares these rows, and the library computes it without {without} until"
            fix = "push the whole model: model.merge_and_unload().save_pretrained(DIR); or train the whole embedding"
            name = next(iter(effect.consumes), "")
            return [Problem("ambiguous", f"{message} they are merged", tensor=name, fix=fix)]
    return []


def _served_later(path: str, base: BaseView) -> tuple[str, str]:
    """Return a name that shares a weight, and what it gains only by merging; empty if nothing."""
    names = base.names
    own = names.canonical(path)
    twins = [twin for spelling, twin in names.sharers(path).items() if spelling != own]
    if twins and names.ties.is_of_part:
        return twins[0], "them"
    return _find_biased_twin(path, base)


def _find_biased_twin(path: str, base: BaseView) -> tuple[str, str]:
    """Return a name that shares a weight, and the bias beside it; empty if there is none."""
    for twin in base.names.sharers(path).values():
        bias = f"{twin.removesuffix(_WEIGHT)}.bias"
        if twin.endswith(_WEIGHT) and (base.names.tensor(bias) or base.names.stored_twin(bias)):
            return twin, bias
    return "", ""
