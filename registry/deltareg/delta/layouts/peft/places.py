"""Places in a weight that were drawn at random and of which a config holds only the seed."""

from dataclasses import dataclass

from deltareg.delta.layouts.peft.peft_kind import Site
from deltareg.delta.layouts.peft.sides import is_flipped, layer, sizes
from deltareg.delta.layouts.peft.torch_random import TOO_MANY, start_of_permutation
from deltareg.delta.maths.formula import Integers

# A million takes about a second; the published recipes have a few thousand.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class SeededPlaces:
    """The places of some values in a weight.

    Attributes:
        shape: The weight's, as it is stored.
        count: How many places.
        seed: The seed that they were drawn with.
        flipped: Whether the weight is stored (in, out); places are drawn in (out, in).
    """

    shape: tuple[int, ...]
    count: int
    seed: int
    flipped: bool

    def draw(self) -> tuple[Integers, Integers]:
        """Return rows and columns in the weight as it is stored."""
        n_in = self.shape[0] if self.flipped else self.shape[1]
        flat = start_of_permutation(self.shape[0] * self.shape[1], self.count, self.seed)
        rows, columns = flat // n_in, flat % n_in
        return (columns, rows) if self.flipped else (rows, columns)


def places(site: Site, role: str, seed: int) -> SeededPlaces:
    """Return the places of a tensor's values in a site's weight.

    Args:
        site: The adapted module.
        role: The tensor of values, one for each place.
        seed: The seed that the places were drawn with.

    Raises:
        Refused: `shape` when there are more values than places or than are supported,
            `not_self_contained` when the weight is too large for the draw to be done again.
    """
    (count,) = sizes(site, role, 1)
    if len(site.shape) != 2:
        raise site.refuse("shape", f"{site.target} {list(site.shape)} is no matrix")
    flipped = is_flipped(site, *layer(site))
    size = site.shape[0] * site.shape[1]
    if count > size or count > _MOST:
        most = f"and at most {_MOST} are supported"
        raise site.refuse("shape", f"{count} values for {site.target} {list(site.shape)}, {most}", role)
    if size >= TOO_MANY:
        message = f"the places in {site.target} {list(site.shape)} cannot be drawn again without torch"
        raise site.refuse("not_self_contained", message, role)
    return SeededPlaces(site.shape, count, seed, flipped)
