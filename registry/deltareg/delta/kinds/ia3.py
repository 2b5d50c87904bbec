"""IA3: a factor on every output of an attention projection, or on every input of a feedforward one.

W' = W ∘ l over rows or columns (Liu et al. 2022, arXiv 2205.05638, equation 1). A factor on outputs
is a factor on the bias too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import Axis


@dataclass(frozen=True, slots=True)
class AxisScaling:
    """W ∘ l, with l along one dimension of W as it is stored.

    Attributes:
        factors: l, one number for each row or column.
        along: Which of the two.
    """

    factors: Tensor
    along: Axis
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        factors, ones = ops.load(self.factors), [1] * (len(weight.shape) - 1)
        if self.along == "rows":
            return weight * factors.reshape(-1, *ones)[start:stop]
        return weight * factors.reshape(1, -1, *ones[1:])


@dataclass(frozen=True, slots=True)
class NoSettings:
    """IA3 has no settings: the shape shows which side a factor is on."""


def read(fields: Fields) -> NoSettings:
    """Ignore the fields that repeat what the shapes say."""
    fields.ignore("feedforward_modules", "init_ia3_weights")
    return NoSettings()


def effects(site: Site, settings: NoSettings) -> Iterable[Effect]:
    """Scale the weight, and its bias along with the outputs."""
    factors = site.tensors["ia3_l"]
    n_out, n_in = site.out_in()
    is_output = factors.shape[0] == n_out and factors.shape[1:] in {(1,), (1, 1, 1)}
    is_input = not is_output and factors.shape[:2] == (1, n_in)
    if not (is_output or is_input):
        raise site.refuse("shape", f"{list(factors.shape)} is no factor for {n_in} -> {n_out}")
    is_rows = is_output != site.base.names.is_transposed(site.reads or site.target)
    yield site.changes(AxisScaling(factors, "rows" if is_rows else "columns"))
    if is_output and site.bias:
        yield WeightUpdate(site.bias, AxisScaling(factors, "rows"), {})


IA3 = PeftKind("ia3", "", "IA3", {("ia3_l", ""): "ia3_l"}, read, effects)
