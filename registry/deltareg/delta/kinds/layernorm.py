"""LayerNorm tuning: normalisation layers with new weights, and whatever else such a layer holds.

A layer's parameters are replaced by the trained ones (Zhao et al. 2023, arXiv 2312.11420).
BatchNorm also brings the running statistics that it had when training ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.maths.updates import Replacement
from deltareg.errors import Problem, Refused
from deltareg.tensors.header import FLOAT_DTYPES

_MARKER = "ln_tuning_layers"
_PARTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class NoSettings:
    """LayerNorm tuning has no settings: a layer is replaced as a whole."""


def read(fields: Fields) -> NoSettings:
    """Return no settings: the config has none."""
    return NoSettings()


def effects(site: Site, settings: NoSettings) -> Iterable[Effect]:
    """Replace every tensor of the layer; refuse a layer of which one is missing."""
    names = site.base.names
    for part in _PARTS:
        target = site.target if part == "weight" else names.tensor(f"{site.module}.{part}")
        tensor = site.tensors.get(part)
        if tensor is None and target is not None:
            message = f"{target} of the base has no new value, and its layer is replaced whole"
            raise site.refuse("missing_tensors", message, fix="save the delta again")
        if tensor is None:
            continue
        if target is None:
            raise _refuse(tensor, "unexpected_tensors", f"the base has no {part} there")
        reads = site.reads if part == "weight" else ""
        if not _is_like(tensor, site, reads or target):
            message = f"{tensor.dtype} {list(tensor.shape)} does not fit {target}"
            raise _refuse(tensor, "shape", message)
        yield WeightUpdate(target, Replacement(tensor), {tensor.name: f"norm_{part}"}, reads)


def _is_like(tensor: Tensor, site: Site, weight: str) -> bool:
    record = site.base.tensors[weight]
    is_real = {tensor.dtype, record.dtype} <= FLOAT_DTYPES
    return tensor.shape == record.shape and (is_real or tensor.dtype == record.dtype)


def _refuse(tensor: Tensor, code: str, why: str) -> Refused:
    return Refused([Problem(code, why, tensor=tensor.name, fix="check the base")])


LAYERNORM = PeftKind(
    "layernorm",
    "",
    "LN_TUNING",
    {(_MARKER, part): part for part in _PARTS},
    read,
    effects,
    optional=frozenset(_PARTS[1:]),
    has_vectors=True,
)
