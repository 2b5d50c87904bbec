"""`adapter_interface.json`: where the library plugged into a network that it has no patch for.

Its plug-in interface (adapters 1.1 and later) names modules below each layer. Bottlenecks then sit
at the projections that it names, and their residual is what goes into the norm that it names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from deltareg.delta.kind import BaseView, DeltaFiles, Tap
from deltareg.delta.layouts.peft.suffixes import LITERAL
from deltareg.delta.sites import Layer, Sites, Sublayer
from deltareg.delta.sites.sites import Part
from deltareg.errors import Problem, Refused

INTERFACE_FILE = "adapter_interface.json"
_PATHS = ("layer_self_attn", "attn_o_proj", "layer_pre_self_attn", "layer_output_proj", "layer_pre_ffn")
# The library looks these up in the last layer for all layers, or has not been tried with them.
_UNSUPPORTED = ("base_model", "layer_cross_attn", "layer_ln_1", "layer_ln_2", "layer_pre_cross_attn")


@dataclass(frozen=True, slots=True)
class AdapterInterface:
    """Modules below a layer that bottlenecks sit at.

    Attributes:
        paths: The interface's word -> the module.
        unsupported: Words with a value that is not supported.
    """

    paths: Mapping[str, str]
    unsupported: tuple[str, ...]

    def places(self, sites: Sites, base: BaseView) -> Sites:
        """Return the layers, with their sublayers at the interface's modules.

        Raises:
            Refused: It has a value that is not supported, or names a module that the base lacks.
        """
        lost = [word for word in _PATHS if word not in self.paths]
        if self.unsupported or lost:
            words = ", ".join([*self.unsupported, *lost])
            message = f"{INTERFACE_FILE}: {words} says something that is not supported"
            raise Refused([Problem("bad_config", message, fix="only plain decoder layers are")])
        layers = tuple(self._layer(layer, base) for layer in sites.layers)
        return replace(sites, layers=layers, embeddings={})

    def _layer(self, layer: Layer, base: BaseView) -> Layer:
        attention = f"{self.paths['layer_self_attn']}.{self.paths['attn_o_proj']}"
        parts: dict[Part, Sublayer] = {
            "attention": self._sublayer(layer, attention, "layer_pre_self_attn", base),
            "ffn": self._sublayer(layer, self.paths["layer_output_proj"], "layer_pre_ffn", base),
        }
        return replace(layer, parts=parts)

    def _sublayer(self, layer: Layer, hook: str, norm: str, base: BaseView) -> Sublayer:
        modules = [f"{layer.path}.{path}" for path in (hook, self.paths[norm])]
        for module in modules:
            if base.names.tensor(f"{module}.weight") is None:
                message = f"{INTERFACE_FILE} names {module}, which the base does not have"
                raise Refused([Problem("no_tensor_applied", message, fix="check the base")])
        return Sublayer(modules[0], Tap(modules[1], "input"), "", "")


def read_interface(files: DeltaFiles) -> AdapterInterface | None:
    """Read the interface; None if the folder has none.

    Raises:
        Refused: `bad_config` for what is no name of a module.
    """
    document = files.documents.get(INTERFACE_FILE)
    if document is None:
        return None
    declared = document.get("interface")
    entries = cast("dict[str, object]", declared) if isinstance(declared, dict) else {}
    paths: dict[str, str] = {}
    for word in _PATHS:
        value = entries.get(word)
        if isinstance(value, str) and LITERAL.fullmatch(value):
            paths[word] = value
        elif value is not None:
            message = f"{INTERFACE_FILE}: {word} is no name of a module"
            raise Refused([Problem("bad_config", message, fix="save the adapter again")])
    return AdapterInterface(paths, tuple(word for word in _UNSUPPORTED if entries.get(word) is not None))
