"""LoRA in the old layouts of diffusers: dotted names, `lora_linear_layer` or `processor.to_q_lora`.

The scale is one unless a tensor `alpha` stands beside a pair; nothing else could hold it. Trainers of Flux also
write such tensors beside pairs of today's names, `lora_A`: there the library applies them. For other models it
leaves them out, and so the scale that was trained with.
"""

from deltareg.delta.layouts.bare_pairs.dotted import finder
from deltareg.delta.layouts.bare_pairs.pair_kind import PairKind
from deltareg.delta.layouts.bare_pairs.plan import PairTensorName

_SIDES = {".up.weight": "up", ".down.weight": "down"}
_LAYER = ".lora_linear_layer"
_SHORT_LAYER = ".lora"
_PROCESSOR = ".processor."
_PROCESSED = {"to_q_lora": "to_q", "to_k_lora": "to_k", "to_v_lora": "to_v", "to_out_lora": "to_out.0"}
_ALPHA = ".alpha"


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
