"""HRA: the inputs of a layer are mirrored, one Householder reflection after the other.

W' = W (I - 2 u_1 u_1ᵀ) … (I - 2 u_r u_rᵀ), each u of length one (Yuan et al. 2024, arXiv
2405.17484); made orthogonal first (Gram-Schmidt), the product is I - 2 U Uᵀ.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.rotations import as_matrix, inputs_of
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.traits import Traits


@dataclass(frozen=True, slots=True)
class Hra:
    """Settings of the config.

    Attributes:
        r: Number of reflections.
        apply_GS: Whether their directions are made orthogonal to each other.
    """

    r: int
    apply_GS: bool  # noqa: N815  # the library's own spelling, which the manifest keeps


@dataclass(frozen=True, slots=True)
class HouseholderChain:
    """W mirrored at the columns of `directions` (n_in, r).

    Attributes:
        directions: Of any length but zero.
        is_orthogonalised: Whether Gram-Schmidt makes them orthogonal first.
    """

    directions: Tensor
    is_orthogonalised: bool
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        matrix, directions = as_matrix(weight), ops.load(self.directions)
        columns = [directions[:, at : at + 1] for at in range(directions.shape[1])]
        if self.is_orthogonalised:
            basis = ops.concat(_orthonormal(columns, ops), 1)
            return (matrix - (matrix @ basis) @ basis.T * 2.0).reshape(*weight.shape)
        for column in columns:
            unit = column / ops.column_norms(column)
            matrix = matrix - (matrix @ unit) @ unit.T * 2.0
        return matrix.reshape(*weight.shape)


def _orthonormal(columns: list[Array], ops: Ops) -> list[Array]:
    basis: list[Array] = []
    for own in columns:
        column = own
        for unit in basis:
            column = column - unit @ (unit.T @ column)
        basis.append(column / ops.column_norms(column))
    return basis


def read(fields: Fields) -> Hra:
    """Read the number of reflections and whether they are made orthogonal."""
    fields.ignore("init_weights")
    return Hra(fields.integer("r", 8), fields.flag("apply_GS"))


def effects(site: Site, settings: Hra) -> Iterable[Effect]:
    """Reflect the inputs of a layer."""
    n_in, directions = inputs_of(site), site.tensors["hra_u"]
    if directions.shape[1:] != (settings.r,):
        message = f"{list(directions.shape)} are not the {settings.r} reflections that the config says"
        raise site.refuse("rank", message)
    if directions.shape[0] != n_in:
        raise site.refuse("shape", f"{list(directions.shape)} does not fit {n_in} inputs")
    yield site.changes(HouseholderChain(directions, settings.apply_GS))


HRA = PeftKind("multiplicative", "hra", "HRA", {("hra_u", ""): "hra_u"}, read, effects, usual=Traits(turns=True))
