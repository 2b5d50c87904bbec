"""Kernels that a network standardises whenever it runs them.

BiT subtracts the mean of every kernel and divides by its spread before it convolves (Kolesnikov et al. 2020, arXiv
1912.11370). The library adds a change of such a kernel to the layer's output while it is attached, and to the kernel
before that division once it is merged: two results, of which no weight gives the first.
"""

from collections.abc import Iterable

from deltareg.delta.architectures import facts
from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.errors import Problem


def standardised_kernels(effects: Iterable[Effect], base: BaseView) -> list[Problem]:
    """Refuse changes of kernels that attached and merged mean different things."""
    types = facts().standardised & base.names.types
    if not types:
        return []
    kernels = sorted(
        (effect.target, next(iter(effect.consumes), ""))
        for effect in effects
        if isinstance(effect, WeightUpdate) and not effect.update.replaces and _is_kernel(effect, base, types)
    )
    if not kernels:
        return []
    target, name = kernels[0]
    message = (
        f"{base.names.architecture or 'the network'} standardises {target} and {len(kernels) - 1} more kernels whenever"
        " it runs them: attached and merged, the library gives different outputs"
    )
    fix = "push what was meant as a whole model: model.merge_and_unload().save_pretrained(DIR); or adapt other layers"
    return [Problem("ambiguous", message, tensor=name, fix=fix)]


def _is_kernel(effect: WeightUpdate, base: BaseView, types: Iterable[str]) -> bool:
    record = base.tensors.get(effect.source)
    is_inside = base.names.model_type in types or any(f".{name}." in f".{effect.target}" for name in types)
    return record is not None and len(record.shape) == 4 and is_inside
