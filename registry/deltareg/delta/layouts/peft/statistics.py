"""Running statistics that training updates and that most deltas do not save.

A BatchNorm averages what passes through it while it is trained, whether its weights are frozen or
not. The library saves these averages only with modules that are saved whole. Loading the delta then
uses the base's averages and gives other outputs than training had.
"""

from collections.abc import Iterable

from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.errors import Problem

_COUNT = ".num_batches_tracked"  # frozen ones do not count
_MEAN = ".running_mean"


def unmoved_statistics(effects: Iterable[Effect], base: BaseView) -> list[Problem]:
    """Warn of running averages that training has changed and the delta does not bring."""
    changed = {effect.target for effect in effects if isinstance(effect, WeightUpdate)}
    modules = [name.removesuffix(_COUNT) for name in base.tensors if name.endswith(_COUNT)]
    unmoved = sorted(m for m in modules if f"{m}{_MEAN}" not in changed)
    if not unmoved:
        return []
    message = (
        f"training moves the running statistics of {len(unmoved)} modules ({unmoved[0]}), and they did"
        " not come along: unless these were frozen, the training process had other outputs than"
        " any library that loads the delta"
    )
    module = unmoved[0].rpartition(".")[2]
    fix = f"name {module} in modules_to_save as well, and save the delta again"
    return [Problem("not_self_contained", message, "warning", fix=fix)]
