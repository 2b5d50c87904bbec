"""Families that a third set of deltas is made of: their bases, and which kinds are tried on each."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.fresh.lora import LORA
from tests.fresh.others import OTHERS
from tests.fresh.outcomes import Outcome, run, workplace
from tests.fresh.recipes import Recipe
from tests.fresh.whole import WHOLE

SEED = 150
_EACH = 4  # one kind in so many is tried on a base
FAMILIES: dict[str, tuple[str, ...]] = {
    "images among words": (
        "llava, a deeper eye",
        "llava_onevision",
        "idefics2",
        "idefics3",
        "smolvlm",
        "mistral3",
        "paligemma",
        "aya_vision",
        "fuyu",
    ),
    "sounds": ("qwen2_audio", "voxtral", "parakeet"),
    "videos": ("timesformer", "videomae", "vivit"),
    "series and decisions": ("patchtst", "decision_transformer"),
    "encoders": ("canine", "flaubert", "funnel", "longformer", "luke", "mobilebert", "roc_bert", "xlnet"),
    "encoders with decoders": ("bigbird_pegasus",),
    "convolutions": ("bit",),
    "state spaces": ("jamba", "nemotron_h", "olmo_hybrid"),
    "experts": (
        "deepseek_v3",
        "ernie4_5_moe",
        "glm4_moe",
        "granitemoe",
        "hunyuan_v1_moe",
        "llama4, text",
        "longcat_flash",
        "phimoe",
        "qwen2_moe",
    ),
}
"""Family -> the bases of it, by their names in `tests.fresh.bases.BASES`."""

KINDS = (
    "lora on all",
    "lora on some",
    "dora",
    "lora, rank-stabilised",
    "lora by an expression",
    "lora, patterns",
    "lora with its biases",
    "lora on the embedding",
    "lora on convolutions",
    "lora on experts",
    "lora, embedding saved",
    "lora, head saved",
    "lora, norms saved",
    "lora and tokens",
    "adalora",
    "vera",
    "ia3",
    "ia3 with a head",
    "loha",
    "lokr",
    "lokr on convolutions",
    "oft",
    "boft",
    "tokens",
    "prompt",
    "prefix",
    "all of it",
    "all of it, with new tokens",
    "its biases",
)
"""The recipes that are tried: a part of all, and none that has to be refused."""

OF_CONVOLUTIONS = (
    "lora on convolutions",
    "dora on convolutions",
    "loha on convolutions",
    "lokr on convolutions",
    "all of it",
    "its biases",
    "its head",
)
"""The same of networks without linear layers."""

RECIPES: dict[str, Recipe] = {title: {**LORA, **OTHERS, **WHOLE}[title] for title in (*KINDS, *OF_CONVOLUTIONS)}


def bases() -> list[str]:
    """Give the bases of all families, in order."""
    return [base for own in FAMILIES.values() for base in own]


def planned(base: str, *, seed: int = SEED) -> list[str]:
    """Give the kinds that are tried on a base."""
    if base in FAMILIES["convolutions"]:
        return [*OF_CONVOLUTIONS]
    start = zlib.crc32(base.encode()) + seed
    return [title for at, title in enumerate(KINDS) if (start + at) % _EACH == 0]


def outcomes_on(base: str, folder: Path, *, seed: int = SEED) -> Iterator[Outcome]:
    """Make the planned deltas of a base, one at a time, and give what becomes of each."""
    with workplace(base, folder) as place:
        for title in planned(base, seed=seed):
            outcome = run(place, title, RECIPES[title], seed=seed)
            if outcome.result != "not for it":
                yield outcome
