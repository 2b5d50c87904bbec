"""FRoD: a weight is written over a basis that layers share, and made anew of other numbers.

W = U diag(l) Vᵀ with columns of U of length one, for any V that can be inverted; then
W' = U (S + diag(l')) Vᵀ, where V and the places of the sparse S belong to all layers of one role,
and l' and the values of S to a module. V must have been saved; U follows from W and V.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import is_flipped, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor

_TABLES = ("frod_V.", "frod_s_indices.", "frod_s_size.")
# Added to lengths, so that a column of zeros stays one; far below any other length.
_NOTHING = 1e-30


@dataclass(frozen=True, slots=True)
class NoSettings:
    """FRoD has no settings: sizes and places are in the tensors."""


@dataclass(frozen=True, slots=True)
class BasisRewrite:
    """U (S + diag(l')) Vᵀ.

    Attributes:
        basis: V (n_in, n_in).
        places: Rows and columns of S (2, k).
        values: S at its places (k,).
        lengths: l' (n_in,).
        is_flipped: Whether W is stored (in, out).
    """

    basis: Tensor
    places: Tensor
    values: Tensor
    lengths: Tensor
    is_flipped: bool
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        basis, size = ops.load(self.basis), self.basis.shape[0]
        columns = ops.solve(basis, weight if self.is_flipped else weight.T).T
        units = columns / (ops.column_norms(columns) + _NOTHING)
        rows, column_places = ops.integers(self.places)
        sparse = ops.scatter((size, size), (rows, column_places), ops.load(self.values))
        scaled = units * ops.load(self.lengths).reshape(1, size)
        result = (units @ sparse + scaled) @ basis.T
        return result.T if self.is_flipped else result


def read(fields: Fields) -> NoSettings:
    """Check that the basis was saved."""
    fields.ignore(
        "frod_dropout",
        "init_weights",
        "progressbar",
        "projection_prng_key",
        "regularization_alpha",
        "runtime_offload_base_weight",
        "sparse_rate",
    )
    fields.refuse_unsaved_projection(
        "the basis to decompositions whose signs are arbitrary, and the places to a random number generator"
    )
    return NoSettings()


def effects(site: Site, settings: NoSettings) -> Iterable[Effect]:
    """Rewrite a linear layer's weight over the shared basis."""
    _check_tables(site)
    role = role_of(site.module)
    basis, places, size = (site.tensors[table + role] for table in _TABLES)
    (n_in,), (count,) = sizes(site, "lengths", 1), sizes(site, "values", 1)
    n_out = site.shape[1] if site.shape[0] == n_in != site.shape[-1] else site.shape[0]
    flipped = is_flipped(site, n_out, n_in)
    if basis.shape != (n_in, n_in) or places.shape != (2, count):
        message = f"{list(basis.shape)} and {list(places.shape)} are no basis of {n_in} inputs"
        raise site.refuse("shape", f"{message} and no places of {count} values", "lengths")
    if size.shape != (2,):
        raise site.refuse("shape", f"{list(size.shape)} is no size of a matrix", f"frod_s_size.{role}")
    tensors = site.tensors
    yield site.changes(BasisRewrite(basis, places, tensors["values"], tensors["lengths"], flipped))


def _check_tables(site: Site) -> None:
    """Check that exactly the roles of the adapted modules came, with all their tables."""
    expected = {table + role_of(module) for module in site.modules for table in _TABLES}
    present = {role for role in site.tensors if role.startswith(_TABLES)}
    if present - expected:
        message = f"no module that is adapted uses {min(present - expected)}"
        raise site.refuse("unexpected_tensors", message, min(present - expected))
    if expected - present:
        raise site.refuse("missing_tensors", f"{min(expected - present)} is missing")


def role_of(module: str) -> str:
    """Return the library's name for the role of a module in its layer: `self_attn_q_proj`."""
    parts = module.split(".")
    if len(parts) == 1 or parts[-2].isdecimal():
        return parts[-1]
    if parts[-3:] == ["attention", "output", "dense"]:
        return "attention_output"
    return "_".join(parts[-2:])


FROD = PeftKind(
    "lora",
    "frod",
    "FROD",
    {("frod_lambda_l", ""): "lengths", ("frod_lambda_s_values", ""): "values"},
    read,
    effects,
    shared={table: table for table in _TABLES},
    optional=frozenset(_TABLES),
)
