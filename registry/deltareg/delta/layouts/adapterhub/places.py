"""Where in the base a module of the library's network lies: its layer, and the sublayer within.

Containers of older networks (`attention.attention`, `output`) have no counterpart in newer ones, so
only the layer is found by name; the library's own words and the site table give the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from deltareg.delta.kind import BaseView
from deltareg.delta.sites import Layer, Sites, Sublayer, sites_of
from deltareg.delta.sites.sites import Part
from deltareg.errors import Problem, Refused

_WORDS: Mapping[str, Part] = {
    "attention_adapters": "attention",
    "output_adapters": "ffn",
    "cross_attention_adapters": "cross",
}


@dataclass(frozen=True, slots=True)
class SublayerPlace:
    """A sublayer of a layer.

    Attributes:
        number: The layer's number in the library, which counts across stacks.
        layer: The layer.
        part: Which sublayer.
    """

    number: int
    layer: Layer
    part: Part

    @property
    def sublayer(self) -> Sublayer:
        """The modules to hook."""
        return self.layer.parts[self.part]


@dataclass(frozen=True)
class BaseLayers:
    """The layers of one base, by the library's paths and numbers.

    Attributes:
        base: The base.
        sites: Its layers.
    """

    base: BaseView
    sites: Sites

    @classmethod
    def of(cls, base: BaseView) -> "BaseLayers":
        """Find the layers of a base.

        Raises:
            Refused: `unknown_kind` for a type of network whose layers are not known here.
        """
        sites = sites_of(base)
        if sites is None or not sites.layers:
            message = f"the layers of model type {base.names.model_type[:80]!r} are not known here"
            fix = "add registry/deltareg/delta/sites/<model_type>.json, which says where adapters go in"
            raise Refused([Problem("unknown_kind", message, fix=fix)])
        return cls(base, sites)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in the order in which the library counts them."""
        return self.sites.layers

    @cached_property
    def _by_path(self) -> dict[str, tuple[int, Layer]]:
        names = self.base.names
        return {names.canonical(x.path): (n, x) for n, x in enumerate(self.layers)}

    def layer(self, holder: str) -> tuple[int, Layer, str] | None:
        """Return the layer that contains a module of the library's network.

        Returns:
            The layer's number, the layer, and the rest of the path; None if it lies in no layer of
            the base.
        """
        parts = self.base.names.canonical(holder).split(".")
        for at in range(len(parts), 0, -1):
            place = self._by_path.get(".".join(parts[:at]))
            if place is not None:
                return (*place, ".".join(parts[at:]))
        return None

    def part(self, holder: str) -> SublayerPlace | None:
        """Return the sublayer whose adapters a module of the library's network holds."""
        place = self.layer(holder)
        if place is None:
            return None
        number, layer, rest = place
        word = _WORDS.get(rest.rpartition(".")[2])
        if word in layer.parts:
            return SublayerPlace(number, layer, word)
        for part, sublayer in layer.parts.items():
            parent = sublayer.hook.removeprefix(f"{layer.path}.").rpartition(".")[0]
            if rest and rest == parent:
                return SublayerPlace(number, layer, part)
        return None

    def width(self, sublayer: Sublayer) -> int | None:
        """Return how many features pass through a sublayer; None if the base does not show it."""
        module = sublayer.norm or sublayer.residual.module
        name = self.base.names.tensor(f"{module}.weight")
        return None if name is None else self.base.tensors[name].shape[-1]
