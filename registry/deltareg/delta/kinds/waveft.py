"""WaveFT: a few coefficients of a wavelet transform, at places drawn at random.

W' = W + scaling · DWT⁻¹(E), E being zero but at the places (Bilican et al. 2025, arXiv 2505.12532);
without `use_idwt` the coefficients are the difference themselves. Only the seed of the places is
saved; they are drawn again exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.places import SeededPlaces, places
from deltareg.delta.layouts.peft.sides import check_size
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.layouts.peft.targets import read_numbers
from deltareg.delta.layouts.peft.wavelets import Wavelet, rebuilt, wavelets
from deltareg.delta.maths.formula import Array, Integers, Ops, Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        n_frequency: How many coefficients there are unless `counts` has another.
        scaling: The factor on the result.
        random_loc_seed: The seed of the places.
        wavelet_family: The name of the filters.
        use_idwt: Whether coefficients are transformed at all.
        proportional_parameters: Whether their count depends on the module's size.
        counts: How many coefficients some modules have.
    """

    n_frequency: int
    scaling: float
    random_loc_seed: int
    wavelet_family: str
    use_idwt: bool
    proportional_parameters: bool
    counts: ModuleNumbers = field(default_factory=ModuleNumbers)


@dataclass(frozen=True, slots=True)
class SeededScatter:
    """W + scaling · values at their places.

    Attributes:
        values: (n,).
        places: Where they are in the weight as it is stored.
        scaling: The factor.
    """

    values: Tensor
    places: SeededPlaces
    scaling: float
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        rows, columns = self.places.draw()
        shape = (stop - start, self.places.shape[1])
        added = _scatter_values(ops.load(self.values), rows - start, columns, shape, ops)
        return weight + added * self.scaling


@dataclass(frozen=True, slots=True)
class WaveletCoefficients:
    """W + scaling · one step of the inverse transform of the coefficients.

    The plane of coefficients is larger than W by the length of the filters, with even sides; places
    lie in its middle. Its four quarters are the bands: the library takes the upper right one as
    high over rows and low over columns, and the lower left one the other way round.

    Attributes:
        values: The coefficients (n,).
        places: Where they are, in W as it is stored.
        wavelet: The filters.
        scaling: The factor.
    """

    values: Tensor
    places: SeededPlaces
    wavelet: Wavelet
    scaling: float
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        first, last = start // 2, -(-stop // 2) + self.wavelet.reach
        upper = self._rows(0, (first, last), ops)
        lower = self._rows(1, (first, last), ops)
        change = rebuilt(upper, lower, self.wavelet, ops)[start - 2 * first : stop - 2 * first]
        return weight + change * self.scaling

    def _rows(self, is_high: int, run: tuple[int, int], ops: Ops) -> Array:
        """Return a run of rows of a band over rows, its columns already transformed."""
        low, high = self._quarter(0, is_high, run, ops), self._quarter(1, is_high, run, ops)
        return rebuilt(low.T, high.T, self.wavelet, ops).T[:, : self.places.shape[1]]

    def _quarter(self, down: int, right: int, run: tuple[int, int], ops: Ops) -> Array:
        (rows, half_height), (columns, half_width) = (self._spread(axis) for axis in (0, 1))
        first, last = run
        inside = (rows // half_height == down) & (columns // half_width == right)
        positions = np.flatnonzero(inside)
        values = ops.take(ops.load(self.values), positions, 0)
        at = rows[positions] - down * half_height - first, columns[positions] - right * half_width
        return _scatter_values(values, *at, (last - first, half_width), ops)

    def _spread(self, axis: int) -> tuple[Integers, int]:
        """Return the places along an axis of the plane, and half of its size."""
        size = self.places.shape[axis]
        padded = size + 2 * self.wavelet.reach
        padded += padded % 2
        return self.places.draw()[axis] + (padded - size) // 2, padded // 2


def read(fields: Fields) -> Settings:
    """Read counts, factor, seed and filters."""
    fields.ignore("init_weights")
    return Settings(
        n_frequency=fields.integer("n_frequency", 2592),
        scaling=fields.number("scaling", 25.0),
        random_loc_seed=fields.integer("random_loc_seed", 777, least=0),
        wavelet_family=fields.choice("wavelet_family", "db1", frozenset(wavelets())),
        use_idwt=fields.flag("use_idwt", default=True),
        proportional_parameters=fields.flag("proportional_parameters"),
        counts=read_numbers(fields, "n_frequency_pattern", whole=True),
    )


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the coefficients, transformed or not, to the weight."""
    at, values = places(site, "spectrum", settings.random_loc_seed), site.tensors["spectrum"]
    if not settings.proportional_parameters:
        check_size(site, at.count, settings.n_frequency, settings.counts)
    if settings.use_idwt:
        wavelet = wavelets()[settings.wavelet_family]
        yield site.changes(WaveletCoefficients(values, at, wavelet, settings.scaling))
    else:
        yield site.changes(SeededScatter(values, at, settings.scaling))


def _scatter_values(values: Array, rows: Integers, columns: Integers, shape: tuple[int, int], ops: Ops) -> Array:
    """Return zeros of a shape with the values whose row lies inside."""
    positions = np.flatnonzero((rows >= 0) & (rows < shape[0]))
    return ops.scatter(shape, (rows[positions], columns[positions]), ops.take(values, positions, 0))


WAVEFT = PeftKind("lora", "waveft", "WAVEFT", {("waveft_spectrum", ""): "spectrum"}, read, effects)
