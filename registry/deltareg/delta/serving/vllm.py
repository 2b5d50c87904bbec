"""vLLM: plain LoRA as peft writes it, up to a rank that the server is started with.

What it refuses was asked of 0.32.0 (`tests/vllm`): every check here has an answer of it beside it.
The ranks are those that `--max-lora-rank` takes.
"""

from collections.abc import Iterator
from typing import ClassVar

from deltareg.delta.serving.servable import Delta, Servability
from deltareg.documents.json_values import is_list

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_PLAIN = frozenset({"", "rslora", "pissa", "olora"})
_FILES = ("adapter_config.json", "adapter_model.safetensors")
_HEADS = frozenset({"classifier", "score"})


class Vllm:
    """The limits of a vLLM server with `--enable-lora`."""

    name: ClassVar[str] = "vllm"
    default_rank: ClassVar[int] = 16

    def judge(self, delta: Delta) -> Servability:
        """Say whether vLLM can serve a delta, and with which `--max-lora-rank`."""
        found = tuple(_obstacles(delta))
        rank = next((each for each in _RANKS if each >= delta.rank), 0)
        if not found and not rank:
            found = (f"rank {delta.rank}; it serves {_RANKS[-1]} at most",)
        needs = f"--max-lora-rank {rank}" if rank > self.default_rank and not found else ""
        return Servability(self.name, found, delta.rank, needs)


def _obstacles(delta: Delta) -> Iterator[str]:
    if delta.kind != "lora" or "r" not in delta.config:
        named = f"{delta.kind} ({delta.variant})" if delta.variant else delta.kind
        yield f"{named}; it serves plain LoRA"
        return
    missing = [name for name in _FILES if name not in delta.files]
    if missing:
        yield f"not as peft writes it: {missing[0]} is missing"
    if delta.config.get("use_dora"):
        yield "DoRA"
    elif delta.variant not in _PLAIN and not delta.config.get("lora_bias"):
        yield f"the variant {delta.variant}"
    if delta.config.get("lora_bias") or delta.config.get("bias", "none") != "none":
        yield "trained biases"
    saved = delta.config.get("modules_to_save")
    strange = [str(name) for name in saved if name not in _HEADS] if is_list(saved) else []
    if strange:
        yield f"modules_to_save: {', '.join(strange)}"
    if delta.config.get("trainable_token_indices"):
        yield "trained tokens"
