"""llama.cpp: factors and one scale, once converted to GGUF.

A `llama-server` loads the output of `deltareg convert --to gguf`, which an agent runs before it
starts one. The conversion brings the ranks and scales of modules to a common value if that rounds
nothing, and refuses the delta otherwise. Which of the two applies depends on the values and on
llama.cpp's names of the base's weights; neither is checked here.
"""

from collections.abc import Iterator
from typing import ClassVar

from deltareg.delta.serving.servable import Servability, ServableDelta, beside_factors


class LlamaCpp:
    """The limits of a `llama-server` with `--lora`."""

    name: ClassVar[str] = "llamacpp"
    default_rank: ClassVar[int | None] = None

    def judge(self, delta: ServableDelta) -> Servability:
        """Return whether llama.cpp can serve a delta; it takes any rank."""
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
