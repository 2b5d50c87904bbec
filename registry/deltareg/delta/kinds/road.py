"""RoAd: pairs of outputs of a linear layer are turned and scaled.

Within a group the first half of the outputs is paired with the second; y' = c ∘ y + s ∘ (-y₂, y₁)
with c = a cos θ and s = a sin θ (Liao and Monz 2024, arXiv 2409.00119, equation 4). It acts on the
bias as on every column of W. The variants share θ and a between the halves (1), have one for each
output (2), or another for c and s as well (4).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.rotations import inputs_of
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.traits import Traits

_SHARES = {"road_1": 1, "road_2": 2, "road_4": 4}  # halves of θ that a group has


@dataclass(frozen=True, slots=True)
class Road:
    """Settings of the config.

    Attributes:
        variant: Which of `road_1`, `road_2`, `road_4`.
        group_size: Outputs of a group, an even number.
    """

    variant: str
    group_size: int


@dataclass(frozen=True, slots=True)
class TurnedOutputs:
    """c ∘ W + s ∘ (-W₂, W₁), on the rows of a weight or the numbers of a bias.

    Attributes:
        angles: θ.
        sizes: a.
        settings: How θ and a are shared, and which outputs are paired.
    """

    angles: Tensor
    sizes: Tensor
    settings: Road
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        half = self.settings.group_size // 2
        rows = weight.reshape(weight.shape[0] // (2 * half), 2, half, -1)
        first, second = rows[:, 0:1], rows[:, 1:2]
        cosines, sines = self._factors(half, ops)
        turned = ops.concat([-second, first], 1)
        return (rows * cosines + turned * sines).reshape(*weight.shape)

    def _factors(self, half: int, ops: Ops) -> tuple[Array, Array]:
        """Return c and s, (groups, 2, half, 1) each."""
        share = _SHARES[self.settings.variant]
        angles, sizes = (ops.load(tensor).reshape(-1, share, half, 1) for tensor in (self.angles, self.sizes))
        if share == 1:
            angles, sizes = ops.concat([angles, angles], 1), ops.concat([sizes, sizes], 1)
        first, last = (slice(None), slice(0, 2)), (slice(None), slice(-2, None))
        cosines = sizes[first] * ops.apply("cos", angles[first])
        return cosines, sizes[last] * ops.apply("sin", angles[last])


def read(fields: Fields) -> Road:
    """Read the variant and the size of a group."""
    fields.ignore("init_weights")
    settings = Road(fields.choice("variant", "road_1", frozenset(_SHARES)), fields.integer("group_size", 64, least=2))
    if settings.group_size % 2:
        fields.refuse("group_size", "is not an even number")
    return settings


def effects(site: Site, settings: Road) -> Iterable[Effect]:
    """Rotate and scale the outputs of a linear layer, its bias included."""
    inputs_of(site)
    n_out, angles, sizes = site.shape[0], site.tensors["road_theta"], site.tensors["road_alpha"]
    count = n_out * _SHARES[settings.variant] // 2
    if len(site.shape) != 2 or n_out % settings.group_size:
        message = f"{site.target} {list(site.shape)} has no groups of {settings.group_size} outputs"
        raise site.refuse("shape", message)
    if not angles.shape == sizes.shape == (count,):
        message = f"{list(angles.shape)} and {list(sizes.shape)} are not the {count} numbers of"
        raise site.refuse("shape", f"{message} {settings.variant} for {n_out} outputs")
    update = TurnedOutputs(angles, sizes, settings)
    yield site.changes(update)
    if site.bias:
        yield WeightUpdate(site.bias, update, {})


ROAD = PeftKind(
    "multiplicative",
    "road",
    "ROAD",
    {("road_theta", ""): "road_theta", ("road_alpha", ""): "road_alpha"},
    read,
    effects,
    usual=Traits(turns=True),
)
