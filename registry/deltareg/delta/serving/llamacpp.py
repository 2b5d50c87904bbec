"""llama.cpp: factors and one scale, after they were written as GGUF.

What a `llama-server` loads is what `deltareg convert --to gguf` writes, as an agent does before it
starts one. That brings ranks and scales of modules to one where it rounds nothing, and refuses it
elsewhere. Which of the two it is shows in the numbers, and what llama.cpp calls a weight in the
base: neither is looked at here.
"""

from collections.abc import Iterator
from typing import ClassVar

from deltareg.delta.serving.servable import Servability, ServableDelta, beside_factors


class LlamaCpp:
    """The limits of a `llama-server` with `--lora`."""

    name: ClassVar[str] = "llamacpp"
    default_rank: ClassVar[int | None] = None

    def judge(self, delta: ServableDelta) -> Servability:
        """Say whether llama.cpp can serve a delta; it takes any rank."""
        return Servability(self.name, tuple(_obstacles(delta)), delta.rank)


def _obstacles(delta: ServableDelta) -> Iterator[str]:
    config = delta.config
    if delta.kind != "lora":
        yield f"{delta.called}; it serves LoRA"
        return
    if config.get("use_dora") or delta.variant == "dora":
        yield "DoRA"
    yield from beside_factors(delta)
    if str(config.get("lora_alpha", "")) == "0":
        yield "an alpha of zero, which it reads as a scale of one"
