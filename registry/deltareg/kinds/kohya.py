"""LoRA in the layout of sd-scripts (kohya): module names joined by underscores, alpha as a tensor.

`lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight` could be read in many ways, so the
names of the base decide; one that fits two of its modules is refused. LoCon's convolutions come in
the same file, with or without a core (`lora_mid`).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from deltareg.bare_pairs.plan import Name, PairPlan, Where, plan_pairs, ranks_of
from deltareg.errors import Problem
from deltareg.kind import BaseView, DeltaFiles, Effect, Match, Tensors
from deltareg.manifest import Source
from deltareg.peft_layout.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.shapes import header_tensors

_PREFIXES = ("lora_te1_", "lora_te2_", "lora_te3_", "lora_te_", "lora_unet_", "lora_vision_")
_ENDINGS = {
    ".lora_up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_mid.weight": "core",
    ".alpha": "alpha",
}
_ALPHA_TOLD = "ss_network_alpha"


@dataclass(frozen=True, slots=True)
class Kohya:
    """Such a LoRA.

    Attributes:
        ranks: The ranks that occur.
    """

    name: ClassVar[str] = "lora"
    layout: ClassVar[str] = "kohya"
    ranks: tuple[int, ...]

    @property
    def variant(self) -> str:
        return ""

    @property
    def foldable(self) -> bool:
        return True

    @property
    def source(self) -> Source:
        return Source("kohya")

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents:
            return None
        found = next((name for name in sorted(files.names) if _read(name) is not None), None)
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
        plan = _plan(header_tensors(files), base)
        if not any(name.endswith(".alpha") for name in files.names):
            told = (h.metadata.get(_ALPHA_TOLD) for h in files.headers.values())
            plan.problems += [_lost_alpha(alpha) for alpha in told if alpha not in {None, "None"}]
        return plan.problems

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        return _plan(tensors, base).effects


def _plan(tensors: Tensors, base: BaseView) -> PairPlan:
    return plan_pairs(tensors, base, read=_read, find=_finder(base))


def _read(name: str) -> Name | None:
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    is_ours = ending and name.startswith(_PREFIXES)
    return Name(name.removesuffix(ending), _ENDINGS[ending]) if is_ours else None


def _finder(base: BaseView) -> Callable[[str], Where]:
    """Index the base's weights by every spelling of their modules, dots as underscores."""
    spelled: dict[str, set[str]] = defaultdict(set)
    names = base.names
    for tensor, record in base.tensors.items():
        if len(record.shape) > 1 and tensor.endswith(".weight"):
            for path in {tensor, names.canonical(tensor), names.memory(tensor) or tensor}:
                spelled[path.removesuffix(".weight").replace(".", "_")].add(tensor)
    table: Mapping[str, set[str]] = spelled

    def find(module: str) -> Where:
        prefix = next(prefix for prefix in _PREFIXES if module.startswith(prefix))
        return tuple(sorted(table.get(module.removeprefix(prefix), ())))

    return find


def _lost_alpha(told: str | None) -> Problem:
    message = f"metadata says {_ALPHA_TOLD} {str(told)[:40]!r}, and no tensor holds an alpha"
    return Problem("missing_tensors", message, fix="save it again, with the alpha of every module")
