"""DEFT: a part of what a layer puts out is taken away, and another is put in its place.

W' = W + Q (s·R - Pᵀ W), with P = relu(Q) or P = Q orthonormal (DEFT, and PaRa where R is nought:
`-Q Pᵀ W` alone; see Chen et al. 2024, arXiv 2406.05641). Q is trained, or the Q of its QR
decomposition.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import is_flipped, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor


@dataclass(frozen=True, slots=True)
class Deft:
    """Settings of the config.

    Attributes:
        r: The rank; a layer of fewer outputs has as much as it can.
        decomposition_method: `relu` or `qr`.
        para: Whether nothing is put in place of what is removed.
        alpha: The numerator of the scale on what is put in; 0 for a scale of one.
    """

    r: int
    decomposition_method: str
    para: bool
    alpha: float


@dataclass(frozen=True, slots=True)
class SubspaceExchange:
    """W + Q (s·R - Pᵀ W).

    Attributes:
        directions: (n_out, r).
        injected: R (r, n_in); None for zero.
        scale: s.
        is_orthonormal: Whether Q is made orthonormal, and P = Q; otherwise P = relu(Q).
        is_flipped: Whether W is stored (in, out).
    """

    directions: Tensor
    injected: Tensor | None
    scale: float
    is_orthonormal: bool
    is_flipped: bool
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        matrix, directions = weight.T if self.is_flipped else weight, ops.load(self.directions)
        if self.is_orthonormal:
            directions = ops.orthonormal(directions)
        removing = directions if self.is_orthonormal else ops.apply("relu", directions)
        change = -(removing.T @ matrix)
        if self.injected is not None:
            change = ops.load(self.injected) * self.scale + change
        result = matrix + directions @ change
        return result.T if self.is_flipped else result


def read(fields: Fields) -> Deft:
    """Read rank, scale and how the directions are used."""
    fields.ignore("deft_dropout", "init_weights", "init_scale")
    return Deft(
        fields.integer("r", 8),
        fields.choice("decomposition_method", "relu", frozenset({"relu", "qr"})),
        fields.flag("para"),
        fields.number("alpha", 0.0),
    )


def effects(site: Site, settings: Deft) -> Iterable[Effect]:
    """Remove a subspace of a linear layer's outputs and put another part in its place."""
    n_out, rank = sizes(site, "deft_P")
    injected = site.tensors.get("deft_R")
    if rank != min(settings.r, n_out):
        message = f"it is of rank {rank}, and the config says {settings.r}"
        raise site.refuse("rank", message, "deft_P")
    if settings.para != (injected is None):
        message = f"para is {str(settings.para).lower()}, and deft_R came or did not"
        raise site.refuse("missing_tensors" if injected is None else "unexpected_tensors", message)
    n_in = math.prod(site.shape) // max(n_out, 1)
    flipped = is_flipped(site, n_out, n_in)
    if injected is not None and injected.shape != (rank, n_in):
        raise site.refuse("shape", f"{list(injected.shape)} is not [{rank}, {n_in}]", "deft_R")
    scale = settings.alpha / rank if settings.alpha else 1.0
    is_orthonormal = settings.decomposition_method == "qr"
    yield site.changes(SubspaceExchange(site.tensors["deft_P"], injected, scale, is_orthonormal, flipped))


DEFT = PeftKind(
    "multiplicative",
    "deft",
    "DEFT",
    {("deft_P", ""): "deft_P", ("deft_R", ""): "deft_R"},
    read,
    effects,
    optional=frozenset({"deft_R"}),
)
