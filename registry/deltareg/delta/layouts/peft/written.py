"""A LoRA in peft's layout, as the registry writes it: names, shapes and the config."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deltareg.delta.layouts.peft.keys import PREFIX
from deltareg.delta.maths.low_rank import F64
from deltareg.tensors.array import F32


@dataclass(frozen=True, slots=True)
class LoraModule:
    """The factors of one module, in the orientation of the stored weight.

    Attributes:
        path: The module's, in the running network.
        left: (n_out, r) of the stored weight.
        right: (r, n_in).
        scale: The factor on the product.
        kernel: Of a convolution (in, h, w), or with one dimension or three; empty otherwise.
        is_flipped: Whether the weight is stored (in, out), or is an embedding.
        is_embedding: Whether it is an embedding.
    """

    path: str
    left: F64
    right: F64
    scale: float
    kernel: tuple[int, ...] = ()
    is_flipped: bool = False
    is_embedding: bool = False

    @property
    def rank(self) -> int:
        """Its rank."""
        return int(self.right.shape[0])

    @property
    def alpha(self) -> float:
        """Numerator of a scale alpha / r that is the factor as float32 sees it."""
        return alpha_for(self.scale, self.rank)

    def tensors(self) -> Iterator[tuple[str, F32]]:
        """Yield the two tensors with their names."""
        a, b = (self.left.T, self.right.T) if self.is_flipped else (self.right, self.left)
        if self.kernel:
            a, b = a.reshape(self.rank, *self.kernel), b.reshape(*b.shape, *[1] * (len(self.kernel) - 1))
        word, end = ("lora_embedding_", "") if self.is_embedding else ("lora_", ".weight")
        for letter, values in (("A", a), ("B", b)):
            name = f"{PREFIX}{self.path}.{word}{letter}{end}"
            yield name, np.ascontiguousarray(values, dtype=np.float32)


def alpha_for(scale: float, rank: int) -> float:
    """Return an alpha for which alpha / rank is the scale, to the last bit if such an alpha exists."""
    alpha = scale * rank
    candidates = (alpha, np.nextafter(alpha, np.inf), np.nextafter(alpha, -np.inf))
    return float(next((c for c in candidates if c / rank == scale), alpha))


def lora_config(modules: Sequence[LoraModule], *, trained: Mapping[str, object], keeps_ties: bool) -> dict[str, object]:
    """Build the content of `adapter_config.json`.

    Args:
        modules: All modules.
        trained: The config's fields about the training run: `task_type`, `auto_mapping`, ….
        keeps_ties: Whether tied weights stay tied.
    """
    ranks, alphas = ([m.rank for m in modules], [m.alpha for m in modules])
    r, alpha = Counter(ranks).most_common(1)[0][0], Counter(alphas).most_common(1)[0][0]
    return {
        **trained,
        "peft_type": "LORA",
        "r": r,
        "lora_alpha": _number(alpha),
        "rank_pattern": {f"^{m.path}": m.rank for m in modules if m.rank != r},
        "alpha_pattern": {f"^{m.path}": _number(m.alpha) for m in modules if m.alpha != alpha},
        "target_modules": sorted(module.path for module in modules),
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "fan_in_fan_out": any(m.is_flipped and not m.is_embedding for m in modules),
        "ensure_weight_tying": keeps_ties,
        "inference_mode": True,
        "lora_dropout": 0.0,
    }


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() else value
