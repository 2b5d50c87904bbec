"""Settings that the configs of LoHa and LoKr share (Yeh et al. 2023, LyCORIS, arXiv 2309.14859)."""

from dataclasses import dataclass, field

from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.layouts.peft.targets import read_numbers


@dataclass(frozen=True, slots=True)
class LycorisSettings:
    """Ranks and scales.

    Attributes:
        r: The rank of modules that `ranks` does not name.
        alpha: The numerator of the scale for modules that `alphas` does not name.
        use_effective_conv2d: Whether kernels go through a core.
        ranks: Ranks of those modules.
        alphas: Numerators of those modules.
    """

    r: int
    alpha: float
    use_effective_conv2d: bool
    ranks: ModuleNumbers = field(default_factory=ModuleNumbers)
    alphas: ModuleNumbers = field(default_factory=ModuleNumbers)

    def rank(self, module: str) -> float:
        """Return the rank that the config gives a module."""
        return self.ranks.of(module, self.r)

    def scale(self, module: str) -> float:
        """Return the factor on a module's product."""
        return self.alphas.of(module, self.alpha) / self.rank(module)


def read_settings(fields: Fields) -> LycorisSettings:
    """Read rank, scale and the treatment of kernels."""
    fields.ignore("init_weights", "module_dropout", "rank_dropout")
    return LycorisSettings(
        r=fields.integer("r", 8),
        alpha=fields.number("alpha", 8),
        use_effective_conv2d=fields.flag("use_effective_conv2d"),
        ranks=read_numbers(fields, "rank_pattern", whole=True),
        alphas=read_numbers(fields, "alpha_pattern"),
    )
