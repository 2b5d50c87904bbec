"""LoRA in the old layouts of diffusers: dotted names, `lora_linear_layer` or `processor.to_q_lora`.

The scale is one unless a tensor `alpha` stands beside a pair; nothing else could hold it.
"""

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.bare_pairs.pair_kind import Finder, PairKind
from deltareg.delta.layouts.bare_pairs.plan import PairTensorName, Where

_SIDES = {".up.weight": "up", ".down.weight": "down"}
_LAYER = ".lora_linear_layer"
_SHORT_LAYER = ".lora"
_PROCESSOR = ".processor."
_PROCESSED = {"to_q_lora": "to_q", "to_k_lora": "to_k", "to_v_lora": "to_v", "to_out_lora": "to_out.0"}
_PARTS = ("unet.", "text_encoder.", "text_encoder_2.", "text_encoder_3.", "transformer.")
_MAIN = ("unet.", "transformer.")
_ALPHA = ".alpha"


def finder(base: BaseView) -> Finder:
    """Return a finder of modules by dotted name, with or without the pipeline component before it."""

    def find(module: str) -> Where:
        spellings = [module, *(module.removeprefix(p) for p in _PARTS if module.startswith(p))]
        # A file without parts is of the one that makes the image.
        spellings += [f"{part}{module}" for part in _MAIN if base.components]
        tensors = (base.names.tensor(f"{spelling}.weight") for spelling in spellings)
        return next(((tensor,) for tensor in tensors if tensor is not None), ())

    return find


def read(name: str) -> PairTensorName | None:
    """Parse a name by its ending and by the layer that holds the factors."""
    if name.endswith(_ALPHA):
        return PairTensorName(_module(name.removesuffix(_ALPHA)), "alpha")
    side = next((side for side in _SIDES if name.endswith(side)), "")
    layer = name.removesuffix(side)
    module = _module(layer) if side else layer
    return PairTensorName(module, _SIDES[side]) if module != layer else None


def _module(layer: str) -> str:
    """Return the module to which a layer of factors belongs; the layer's own name if it is none."""
    above, is_processed, last = layer.rpartition(_PROCESSOR)
    if is_processed and last in _PROCESSED:
        return f"{above}.{_PROCESSED[last]}"
    return layer.removesuffix(_LAYER).removesuffix(_SHORT_LAYER)


DIFFUSERS = PairKind("diffusers", read, finder)
