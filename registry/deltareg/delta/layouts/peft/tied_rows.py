"""Rows of an embedding that a head shares: what the library serves is not always one function.

A head that shares the embedding gets the same rows. Until they are merged the library computes it
without its bias; after merging, with it.
"""

from collections.abc import Sequence

from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.delta.layouts.peft.trained import Trained
from deltareg.delta.maths.updates import ReplaceRows
from deltareg.errors import Problem

_WEIGHT = ".weight"


def two_readings(effects: Sequence[Effect], trained: Trained, base: BaseView) -> list[Problem]:
    """Find a bias that the library leaves out or adds, by whether the rows are merged.

    Args:
        effects: What the delta does.
        trained: The network that was trained; one of another class has no such head.
        base: The base.
    """
    if trained.on and not trained.is_base_class:
        return []
    rows = [e for e in effects if isinstance(e, WeightUpdate) and isinstance(e.update, ReplaceRows)]
    for effect in rows:
        twin, bias = _biased(effect.target, base)
        if bias:
            told = f"{twin} shares these rows, and the library computes it without {bias} until"
            fix = "merge them with the library and push that, or train the embedding as a whole"
            name = next(iter(effect.consumes), "")
            return [Problem("ambiguous", f"{told} they are merged", tensor=name, fix=fix)]
    return []


def _biased(path: str, base: BaseView) -> tuple[str, str]:
    """Give a name that shares a weight, and the bias beside it; empty when there is none."""
    for twin in base.names.sharers(path).values():
        bias = f"{twin.removesuffix(_WEIGHT)}.bias"
        if twin.endswith(_WEIGHT) and (base.names.tensor(bias) or base.names.stored_twin(bias)):
            return twin, bias
    return "", ""
