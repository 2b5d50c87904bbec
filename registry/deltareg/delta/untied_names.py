"""Names that are no longer tied: once one of them has its own tensor, all of them need one.

One switch of a config ties names to shared tensors. A delta that gives a tied head its own values
turns it off, and a name without a tensor in the files would then start at random.
"""

from collections.abc import Sequence
from dataclasses import replace

from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.delta.maths.updates import IdentityUpdate


def loosen_ties(effects: Sequence[Effect], base: BaseView) -> list[WeightUpdate]:
    """Give every untied name the tensor that it shared, as the delta leaves that.

    Args:
        effects: All effects of the delta.
        base: The base.
    """
    updates = [effect for effect in effects if isinstance(effect, WeightUpdate)]
    if not any(update.reads for update in updates):
        return []
    changed: dict[str, list[WeightUpdate]] = {}
    for update in updates:
        changed.setdefault(update.target, []).append(update)
    loosened: list[WeightUpdate] = []
    for twin, shared in base.names.absent_twins().items():
        if twin in changed:
            continue
        if shared in changed:
            loosened += [replace(u, target=twin, reads=shared, consumes={}) for u in changed[shared]]
        else:
            loosened.append(WeightUpdate(twin, IdentityUpdate(), {}, shared))
    return loosened
