"""vLLM: plain LoRA as peft writes it, up to a rank that the server is started with.

The refusals were recorded from 0.32.0 (`tests/vllm`): every check here has a recorded answer. The
ranks are those that `--max-lora-rank` accepts.
"""

from collections.abc import Iterator
from typing import ClassVar

from deltareg.delta.serving.servable import Servability, ServableDelta, beside_factors, not_as_peft_writes

_DEFAULT = 16
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_PLAIN = frozenset({"", "rslora", "pissa", "olora"})
_HEADS = frozenset({"classifier", "score"})


class Vllm:
    """The limits of a vLLM server with `--enable-lora`."""

    name: ClassVar[str] = "vllm"
    default_rank: ClassVar[int | None] = _DEFAULT

    def judge(self, delta: ServableDelta) -> Servability:
        """Return whether vLLM can serve a delta, and with which `--max-lora-rank`."""
        obstacles = tuple(_obstacles(delta))
        rank = next((each for each in _RANKS if each >= delta.rank), 0)
        if not obstacles and not rank:
            obstacles = (f"rank {delta.rank}; it serves {_RANKS[-1]} at most",)
        needs = f"--max-lora-rank {rank}" if rank > _DEFAULT and not obstacles else ""
        return Servability(self.name, obstacles, delta.rank, needs)


def _obstacles(delta: ServableDelta) -> Iterator[str]:
    if delta.kind != "lora" or "r" not in delta.config:
        yield f"{delta.called}; it serves plain LoRA"
        return
    yield from not_as_peft_writes(delta)
    if delta.config.get("use_dora"):
        yield "DoRA"
    elif delta.variant not in _PLAIN and not delta.config.get("lora_bias"):
        yield f"the variant {delta.variant}"
    yield from beside_factors(delta, but=_HEADS)
