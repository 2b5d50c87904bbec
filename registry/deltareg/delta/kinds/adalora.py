"""AdaLoRA: factors of a rank that differs by module, with a number for each singular direction.

W' = W + alpha / r · B diag(E) A, with r the rank that training began with (Zhang et al. 2023, arXiv
2303.10512, equation 3). The library adds 1e-5 to r.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import ScaledRows, check_rank, low_rank, sizes
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers, Suffix, Suffixes, suffix
from deltareg.delta.maths.updates import Factor

_UNSUPPORTED = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "ensure_weight_tying",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
    "velora_config",
)
_TRAINING_ONLY = (
    "beta1",
    "beta2",
    "corda_config",
    "deltaT",
    "eva_config",
    "init_lora_weights",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "orth_reg_weight",
    "qalora_group_size",
    "r",
    "target_r",
    "tfinal",
    "tinit",
    "total_step",
)
_GUARD = 1e-5


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the config.

    Attributes:
        init_r: The rank that training began with.
        lora_alpha: The numerator of the scale; the rank that is left when it is not positive.
        ranks: The ranks that modules ended with.
    """

    init_r: int
    lora_alpha: float
    ranks: ModuleNumbers = field(default_factory=ModuleNumbers)


def read(fields: Fields) -> Settings:
    """Read the ranks, which the config gives as masks of the directions that were kept."""
    fields.refuse_unsupported(*_UNSUPPORTED)
    fields.ignore(*_TRAINING_ONLY)
    return Settings(fields.integer("init_r", 12), fields.number("lora_alpha", 8), _ranks(fields))


def effects(site: Site, settings: Settings) -> Iterable[Effect]:
    """Add the product of the factors to the weight."""
    (rank, n_in), (n_out, other) = sizes(site, "lora_A"), sizes(site, "lora_B")
    check_rank(site, (rank, other), settings.ranks.of(site.module, settings.init_r))
    if site.tensors["lora_E"].shape != (rank, 1):
        raise site.refuse("shape", f"it is no column of {rank}", "lora_E")
    alpha = settings.lora_alpha if settings.lora_alpha > 0 else float(rank)
    right = ScaledRows(Factor(site.tensors["lora_A"]), site.tensors["lora_E"])
    left, scale = Factor(site.tensors["lora_B"]), alpha / (settings.init_r + _GUARD)
    yield site.changes(low_rank(site, left, right, out_in=(n_out, n_in), scale=scale))


def _ranks(fields: Fields) -> ModuleNumbers:
    entries: list[Suffix] = []
    values: list[float] = []
    for text, mask in fields.table("rank_pattern").items():
        entry = suffix(text.partition(".lora_E")[0])
        flags = cast("list[object]", mask) if isinstance(mask, list) else [None]
        if entry is None or not all(isinstance(flag, bool) for flag in flags):
            fields.refuse("rank_pattern", f"has no list of true and false for {text[:80]}")
            return ModuleNumbers()
        entries.append(Suffix(entry.text, anchored=True))
        values.append(sum(flag is True for flag in flags))
    return ModuleNumbers(Suffixes.of(entries), tuple(values))


ADALORA = PeftKind(
    "lora",
    "adalora",
    "ADALORA",
    {("lora_A", ""): "lora_A", ("lora_B", ""): "lora_B", ("lora_E", ""): "lora_E"},
    read,
    effects,
    bias_words=("lora",),
)
