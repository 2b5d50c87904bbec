"""LoRA in the old layouts of diffusers: dotted names, `lora_linear_layer` or `processor.to_q_lora`.

The scale is one unless a tensor `alpha` stands beside a pair; nothing else could hold it.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.bare_pairs.plan import Name, PairPlan, Where, plan_pairs, ranks_of
from deltareg.errors import Problem
from deltareg.kind import BaseView, DeltaFiles, Effect, Match, Tensors
from deltareg.manifest import Source
from deltareg.peft_layout.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.shapes import header_tensors

_SIDES = {".up.weight": "up", ".down.weight": "down"}
_LAYER = ".lora_linear_layer"
_SHORT_LAYER = ".lora"
_PROCESSOR = ".processor."
_PROCESSED = {
    "to_q_lora": "to_q", "to_k_lora": "to_k", "to_v_lora": "to_v", "to_out_lora": "to_out.0",
}  # fmt: skip
_PARTS = ("unet.", "text_encoder.", "text_encoder_2.", "text_encoder_3.", "transformer.")
_ALPHA = ".alpha"


@dataclass(frozen=True, slots=True)
class Diffusers:
    """Such a LoRA.

    Attributes:
        ranks: The ranks that occur.
    """

    name: ClassVar[str] = "lora"
    layout: ClassVar[str] = "diffusers"
    ranks: tuple[int, ...]

    @property
    def variant(self) -> str:
        return ""

    @property
    def foldable(self) -> bool:
        return True

    @property
    def source(self) -> Source:
        return Source("diffusers")

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents:
            return None
        pairs = (n for n in sorted(files.names) if (read := _read(n)) and read.role != "alpha")
        found = next(pairs, None)
        return None if found is None else Match(cls.name, f"tensor names such as {found[:80]}", 2)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        shapes = {
            n: i.shape for header in files.headers.values() for n, i in header.tensors.items()
        }
        return cls(tuple(sorted(ranks_of(shapes, _read))))

    def config(self) -> dict[str, object]:
        return {
            "layout": self.layout,
            "r": self.ranks[0] if len(self.ranks) == 1 else [*self.ranks],
        }

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        return _plan(header_tensors(files), base).problems

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        return _plan(tensors, base).effects


def _plan(tensors: Tensors, base: BaseView) -> PairPlan:
    def find(module: str) -> Where:
        spellings = (module, *(module.removeprefix(p) for p in _PARTS if module.startswith(p)))
        found = (base.names.tensor(f"{spelling}.weight") for spelling in spellings)
        return next(((tensor,) for tensor in found if tensor is not None), ())

    return plan_pairs(tensors, base, read=_read, find=find)


def _read(name: str) -> Name | None:
    if name.endswith(_ALPHA):
        return Name(_module(name.removesuffix(_ALPHA)), "alpha")
    side = next((side for side in _SIDES if name.endswith(side)), "")
    layer = name.removesuffix(side)
    module = _module(layer) if side else layer
    return Name(module, _SIDES[side]) if module != layer else None


def _module(layer: str) -> str:
    """Give the module that a layer of factors is on; the layer's own name when it is none."""
    above, is_processed, last = layer.rpartition(_PROCESSOR)
    if is_processed and last in _PROCESSED:
        return f"{above}.{_PROCESSED[last]}"
    return layer.removesuffix(_LAYER).removesuffix(_SHORT_LAYER)
