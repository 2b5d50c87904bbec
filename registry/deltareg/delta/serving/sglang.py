"""SGLang: plain LoRA as peft writes it, of one rank and one alpha.

By the source of 0.5.23 (`tests/sglang`). Many features it does not refuse but ignores: a weight
that is saved whole, a pattern, rank stabilisation. It then gives other answers than the trained
model.
"""

from collections.abc import Iterator
from typing import ClassVar

from deltareg.delta.serving.servable import Servability, ServableDelta, beside_factors, not_as_peft_writes

_PLAIN = frozenset({"", "pissa", "olora"})


class Sglang:
    """The limits of an SGLang server with `--enable-lora`."""

    name: ClassVar[str] = "sglang"
    default_rank: ClassVar[int | None] = None

    def judge(self, delta: ServableDelta) -> Servability:
        """Return whether SGLang can serve a delta, and the rank that it has to be started with."""
        obstacles = tuple(_obstacles(delta))
        needs = "" if obstacles else f"--max-lora-rank {delta.rank} or more"
        return Servability(self.name, obstacles, delta.rank, needs)


def _obstacles(delta: ServableDelta) -> Iterator[str]:
    config = delta.config
    if delta.kind != "lora" or "r" not in config:
        yield f"{delta.called}; it serves plain LoRA"
        return
    yield from not_as_peft_writes(delta)
    yield from _scaled_otherwise(delta)
    if config.get("target_parameters"):
        yield "factors of parameters (target_parameters)"
    yield from beside_factors(delta)


def _scaled_otherwise(delta: ServableDelta) -> Iterator[str]:
    if delta.config.get("use_dora"):
        yield "DoRA"
    elif delta.config.get("use_rslora"):
        yield "rank-stabilised: it scales by alpha / r"
    elif delta.variant not in _PLAIN:
        yield f"the variant {delta.variant}"
    if delta.config.get("rank_pattern") or delta.config.get("alpha_pattern"):
        yield "ranks or alphas of their own for some modules"
