"""FourierFT: a few coefficients of a two-dimensional spectrum, at places drawn at random.

W' = W + scaling · Re F⁻¹(E), E being zero but at the places (Gao et al. 2024, arXiv
2405.03003). Only the seed of the places is saved; they are drawn again exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.places import SeededPlaces, places
from deltareg.delta.layouts.peft.sides import check_size
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.layouts.peft.targets import read_numbers
from deltareg.delta.maths.formula import Array, Ops, Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        n_frequency: How many coefficients there are unless `counts` has another.
        scaling: The factor on the result.
        random_loc_seed: The seed of the places.
        counts: How many coefficients some modules have.
    """

    n_frequency: int
    scaling: float
    random_loc_seed: int
    counts: ModuleNumbers = field(default_factory=ModuleNumbers)


@dataclass(frozen=True, slots=True)
class SpectralUpdate:
    """W + scaling · Re F⁻¹ of the spectrum.

    Attributes:
        spectrum: The coefficients (n,).
        places: Where they are in the weight as it is stored.
        scaling: The factor.
    """

    spectrum: Tensor
    places: SeededPlaces
    scaling: float
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        spectrum = ops.scatter(self.places.shape, self.places.draw(), ops.load(self.spectrum))
        return weight + ops.inverse_fourier(spectrum) * self.scaling


def read(fields: Fields) -> Settings:
    """Read counts, factor and seed."""
    fields.ignore("init_weights")
    return Settings(
        n_frequency=fields.integer("n_frequency", 1000),
        scaling=fields.number("scaling", 150.0),
        random_loc_seed=fields.integer("random_loc_seed", 777, least=0),
        counts=read_numbers(fields, "n_frequency_pattern", whole=True),
    )


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the transformed coefficients to the weight."""
    at = places(site, "spectrum", settings.random_loc_seed)
    check_size(site, at.count, settings.n_frequency, settings.counts)
    yield site.changes(SpectralUpdate(site.tensors["spectrum"], at, settings.scaling))


FOURIERFT = PeftKind(
    "lora", "fourierft", "FOURIERFT", {("fourierft_spectrum", ""): "spectrum"}, read, effects, bias_words=("fourier",)
)
