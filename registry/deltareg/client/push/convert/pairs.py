"""LoRA in the layouts of kohya and old diffusers, as peft writes it: same factors and scales."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deltareg.client.bases.bases import KnownBase
from deltareg.client.folders.folder import Folder
from deltareg.client.push.convert.differences import is_same_fold
from deltareg.client.push.convert.writing import (
    Conversion,
    Part,
    copied,
    documents,
)
from deltareg.delta.delta_manifest import Assessment
from deltareg.delta.examine import examine
from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.delta.layouts.bare_pairs.pair import Pair
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.keys import PREFIX
from deltareg.errors import IntegrityFailure, InvalidInput, Refused
from deltareg.tensors.array import to_f32, view

_FILE = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class _Adapted:
    """A module with its pair.

    Attributes:
        module: Its path in the running network.
        pair: The factors.
        shape: The weight's.
    """

    module: str
    pair: Pair
    shape: tuple[int, ...]

    @property
    def alpha(self) -> float:
        """The numerator of the scale."""
        alpha = self.pair.alpha
        if alpha is None:
            return float(self.pair.rank)
        return float(np.max(to_f32(view(alpha.read(), alpha.dtype, alpha.shape), alpha.dtype)))

    def parts(self) -> list[Part]:
        """Give A and B, in the shapes that a layer of this kind has."""
        rank, pair = self.pair.rank, self.pair
        ones = (1,) * (len(self.shape) - 2)
        inner = self.shape[1:] if not pair.is_flipped else self.shape[:1]
        key = f"{PREFIX}{self.module}."
        return [
            copied(f"{key}lora_A.weight", pair.down, (rank, *inner)),
            copied(f"{key}lora_B.weight", pair.up, (pair.up.shape[0], rank, *ones)),
        ]


def are_in(effects: Sequence[Effect]) -> bool:
    """Whether a delta is made of such pairs."""
    return bool(effects) and all(
        isinstance(effect, WeightUpdate) and isinstance(effect.update, Pair) for effect in effects
    )


def plan(folder: Folder, found: Assessment, known: KnownBase) -> Conversion:
    """Say what to write.

    Raises:
        InvalidInput: A module has a core between its factors, for which peft has no place.
        Refused: The numbers are not those of a sound delta.
    """
    adapted = list(_adapted(found.account.effects, known.view))
    problems = examine(found.account, folder.tensors, None, folder.files)
    if problems:
        raise Refused(problems)
    alphas = sum(module.pair.alpha is not None for module in adapted)
    config = json.dumps(_config(adapted), indent=2, sort_keys=True).encode() + b"\n"
    metadata = {k: v for h in folder.files.headers.values() for k, v in h.metadata.items()}

    def prove(written: Assessment) -> None:
        # Without the base's weights there is nothing to fold into; the factors are the same bytes.
        if known.tensors is not None and not is_same_fold(
            found.account.effects, written.account.effects, known.tensors
        ):
            raise IntegrityFailure("the converted LoRA does not fold into the same weights")

    return Conversion(
        source=str(found.kind.config()["layout"]),
        result="lora",
        files={_FILE: [part for module in adapted for part in module.parts()]},
        source_bytes=sum(f.size_bytes for f in folder.contents.values() if f.header is not None),
        metadata={**metadata, "format": "pt"},
        beside={**documents(folder), CONFIG_FILE: config},
        left_out=(f"{alphas} tensors .alpha (now in {CONFIG_FILE})",) if alphas else (),
        prove=prove,
    )  # fmt: skip


def _adapted(effects: Iterable[Effect], base: BaseView) -> Iterable[_Adapted]:
    for effect in effects:
        assert isinstance(effect, WeightUpdate)
        assert isinstance(effect.update, Pair)
        if effect.update.core is not None:
            raise InvalidInput(
                f"{effect.update.core.name} lies between two factors, and peft has no such layer",
                fix="push the file as it is",
            )
        weight = base.names.memory(effect.target) or effect.target
        shape = base.tensors[effect.target].shape
        yield _Adapted(weight.removesuffix(".weight"), effect.update, shape)


def _config(adapted: Sequence[_Adapted]) -> dict[str, object]:
    ranks = {module.module: module.pair.rank for module in adapted}
    alphas = {module.module: module.alpha for module in adapted}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": None,
        "bias": "none",
        "fan_in_fan_out": any(module.pair.is_flipped for module in adapted),
        "inference_mode": True,
        "lora_alpha": _short(alpha),
        "alpha_pattern": {f"^{m}": _short(a) for m, a in sorted(alphas.items()) if a != alpha},
        "r": rank,
        "rank_pattern": {f"^{m}": r for m, r in sorted(ranks.items()) if r != rank},
        "target_modules": sorted(ranks),
        "task_type": None,
    }


def _short(number: float) -> float | int:
    return int(number) if number.is_integer() else number
