"""llama.cpp's names for the weights of a network, and the weights that it keeps in another order.

Its programs rotate pairs of neighbouring numbers where transformers rotates pairs with one number
from each half of a head, so in some networks the rows of q and k are stored in that order (Su et
al. 2021, arXiv 2104.09864, is silent on the order). Which networks: `conversion/` of llama.cpp, by
class.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deltareg.client.convert.expert_stacks import EXPERT, siblings
from deltareg.client.convert.gguf_library import gguf
from deltareg.delta.kind import BaseView
from deltareg.errors import InvalidInput
from deltareg.tensors.array import F32

# Class of transformers -> what llama.cpp calls it, and whether rows of q and k change places.
_ARCHITECTURES = {
    "Gemma2ForCausalLM": ("gemma2", False),
    "Gemma3ForCausalLM": ("gemma3", False),
    "GemmaForCausalLM": ("gemma", False),
    "GraniteForCausalLM": ("granite", True),
    "LlamaForCausalLM": ("llama", True),
    "MistralForCausalLM": ("llama", True),
    "MixtralForCausalLM": ("llama", True),
    "Olmo2ForCausalLM": ("olmo2", False),
    "OlmoForCausalLM": ("olmo", True),
    "OlmoeForCausalLM": ("olmoe", False),
    "Phi3ForCausalLM": ("phi3", False),
    "PhiForCausalLM": ("phi2", False),
    "Qwen2ForCausalLM": ("qwen2", False),
    "Qwen2MoeForCausalLM": ("qwen2moe", False),
    "Qwen3ForCausalLM": ("qwen3", False),
    "Qwen3MoeForCausalLM": ("qwen3moe", False),
    "SeedOssForCausalLM": ("seed_oss", False),
    "SmolLM3ForCausalLM": ("smollm3", True),
}
_WEIGHT = ".weight"
EMBEDDING = "token_embd.weight"
_HEADS = "mend num_attention_heads and num_key_value_heads in the base's config.json"


@dataclass(frozen=True, slots=True)
class GgufNetwork:
    """A base as llama.cpp sees it.

    Attributes:
        architecture: llama.cpp's name of the architecture.
        base: The base.
        is_permuted: Whether rows of q and k are stored in another order.
        name_of: Returns llama.cpp's name of a weight, given its name in transformers.
    """

    architecture: str
    base: BaseView
    is_permuted: bool
    name_of: Callable[[str], str | None]

    def name(self, target: str) -> str | None:
        """Return the name of one of the base's weights; None if it has no place of its own."""
        spellings = (self.base.names.memory(target) or target, target)
        names = (self.name_of(name) for name in spellings if name.endswith(_WEIGHT))
        return next((name for name in names if name is not None), None)

    def stack(self, target: str) -> str | None:
        """Return the name of the stack that an expert's weight is in; None if it is in none."""
        match = EXPERT.fullmatch(target)
        if match is None:
            return None
        layer = match[1].rpartition(".")[0].rpartition(".")[2]
        spellings = (f"{match[1]}.experts.{match[3]}", f"layers.{layer}.feed_forward.experts.{match[3]}")
        names = (self.name_of(f"{name}{_WEIGHT}") for name in spellings)
        return next((name for name in names if name is not None), None)

    def targets(self) -> dict[str, list[str]]:
        """Return the base's weights by llama.cpp's names; those of a stack expert by expert."""
        matrices = [name for name, record in self.base.tensors.items() if len(record.shape) == 2]
        single = {gguf_name: [name] for name in matrices if (gguf_name := self.name(name)) is not None}
        stacks = {gguf_name: name for name in matrices if (gguf_name := self.stack(name)) is not None}
        return single | {name: siblings(first, self.base) for name, first in stacks.items()}

    def reorder_rows(self, target: str, rows: F32, *, back: bool = False) -> F32:
        """Reorder the rows of q or k for llama.cpp, or back; other weights stay as they are.

        Raises:
            InvalidInput: The config does not say how many heads there are.
        """
        heads = self._heads(target)
        if not heads:
            return rows
        half = len(rows) // heads // 2
        if half * heads * 2 != len(rows):
            message = f"{target}: {len(rows)} rows are not {heads} heads of two halves"
            raise InvalidInput(message, fix=_HEADS)
        inner = (half, 2) if back else (2, half)
        turned = rows.reshape(heads, *inner, -1).swapaxes(1, 2)
        return np.ascontiguousarray(turned.reshape(rows.shape))

    def _heads(self, target: str) -> int:
        module = target.removesuffix(_WEIGHT).rpartition(".")[2]
        key = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(module)
        if not self.is_permuted or key is None:
            return 0
        count = self.base.config.get(key) or self.base.config.get("num_attention_heads")
        if not isinstance(count, int) or count < 1:
            message = "the base's config does not say how many heads of attention it has"
            raise InvalidInput(message, fix=_HEADS)
        return count


def network_of(base: BaseView) -> GgufNetwork:
    """Return a base as llama.cpp sees it.

    Raises:
        InvalidInput: It is unknown here how llama.cpp stores such a network.
        Misconfigured: The package `gguf` is not installed.
    """
    library = gguf()
    entry = _ARCHITECTURES.get(base.names.architecture)
    blocks = base.config.get("num_hidden_layers")
    if entry is None or not isinstance(blocks, int) or not 0 < blocks < 10_000:
        raise InvalidInput(
            f"how llama.cpp stores the weights of {base.names.architecture or 'this base'} is not known here",
            fix=f"known are {', '.join(sorted(_ARCHITECTURES))}",
        )
    architecture, is_permuted = entry
    kind = next(kind for kind, name in library.MODEL_ARCH_NAMES.items() if name == architecture)
    names = library.get_tensor_name_map(kind, blocks)

    def name_of(name: str) -> str | None:
        return names.get_name(name, (_WEIGHT,))

    return GgufNetwork(architecture, base, is_permuted, name_of)
