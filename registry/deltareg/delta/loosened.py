"""Ties that come undone: where one name gets a tensor of its own, all others need theirs.

Whether names share tensors is one switch of a config. A delta that gives a tied head its own values
turns it off, and a name that has no tensor in the files then would start at random.
"""

from collections.abc import Sequence
from dataclasses import replace

from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.delta.maths.updates import IdentityUpdate


def loosen_ties(effects: Sequence[Effect], base: BaseView) -> list[WeightUpdate]:
    """Give every name that loses its tie what it shared: the stored tensor, as the delta leaves it.

    Args:
        effects: All that the delta does.
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
