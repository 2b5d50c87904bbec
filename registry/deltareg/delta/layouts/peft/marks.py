"""Which library wrote a delta, and which of its types, by the evidence in names and config."""

from collections.abc import Iterable
from functools import lru_cache

from deltareg.delta.kind import DeltaFiles
from deltareg.delta.layouts.peft.config import adapter_config

# A component of a tensor name (or its beginning) -> the peft_type that writes it.
_PEFT_MARKS = {
    "lora_A": "LORA",
    "lora_B": "LORA",
    "lora_embedding_A": "LORA",
    "lora_embedding_B": "LORA",
    "lora_E": "ADALORA",
    "ia3_l": "IA3",
    "hada_": "LOHA",
    "lokr_": "LOKR",
    "oft_R": "OFT",
    "oft_r": "OFT",
    "oft_s": "OFT",
    "boft_": "BOFT",
    "hra_u": "HRA",
    "road_": "ROAD",
    "vera_lambda": "VERA",
    "randlora_": "RANDLORA",
    "vblora_": "VBLORA",
    "delora_": "DELORA",
    "gralora_": "GRALORA",
    "hira_": "HIRA",
    "fourierft_": "FOURIERFT",
    "c3a_kernel": "C3A",
    "waveft_": "WAVEFT",
    "bone_block": "BONE",
    "miss_block": "MISS",
    "ln_tuning_layers": "LN_TUNING",
    "shira_": "SHIRA",
    "trainable_tokens_delta": "TRAINABLE_TOKENS",
    "prompt_embeddings": "PROMPT_TUNING",
    # Multiplicative, sparse and rarer types.
    "adamss_": "ADAMSS",
    "adaption_": "ADAPTION_PROMPT",
    "beft_bias": "BEFT",
    "deft_": "DEFT",
    "frod_": "FROD",
    "glora_": "GLORA",
    "lily_": "LILY",
    "oft_embedding_R": "OFT",
    "osf_svd_params": "OSF",
    "peanut_": "PEANUT",
    "poly_": "POLY",
    "psoft_": "PSOFT",
    "pvera_": "PVERA",
    "shadow_": "SHADOW",
    "supertuning_": "SUPERTUNING",
    "tinylora_": "TINYLORA",
    "unilora_": "UNILORA",
}


def marks(names: Iterable[str]) -> frozenset[str]:
    """Return the peft types that have tensor names of their own among these."""
    types: set[str] = set()
    for name in names:
        for part in name.split("."):
            types |= _types_of(part)
    if "ADALORA" in types:
        types.discard("LORA")
    return frozenset(types)


@lru_cache(maxsize=1024)
def _types_of(part: str) -> frozenset[str]:
    """Return the types that a part of a name indicates; cached, as every kind asks for the same."""
    exact = _PEFT_MARKS.get(part)
    if exact is not None:
        return frozenset([exact])
    if "_" not in part:
        return frozenset()
    return frozenset(t for mark, t in _PEFT_MARKS.items() if part.startswith(mark))


def is_adapterhub(files: DeltaFiles) -> bool:
    """Whether the config is one that the adapters library writes."""
    config = adapter_config(files) or {}
    version = config.get("version")
    return isinstance(version, str) and version.startswith("adapters") and "config" in config
