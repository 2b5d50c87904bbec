"""Recipes of peft's other kinds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.fresh.anatomy import Anatomy
from tests.fresh.lora import last, some
from tests.fresh.recipes import Random, Recipe, peft

_LANGUAGE = frozenset({"CAUSAL_LM", "SEQ_2_SEQ_LM"})


def on_linears(name: str, count: int = 2, **options: Any) -> Recipe:
    """Make a recipe of a kind that adapts linear layers."""

    def config(anatomy: Anatomy, random: Random) -> Any:
        if not anatomy.linears:
            return None
        modules = some(random, anatomy.linears, count)
        task = anatomy.task or None
        return getattr(peft, name)(target_modules=modules, task_type=task, **options)

    return Recipe(config)


def before_tokens(name: str, **options: Any) -> Recipe:
    """Make a recipe of a kind that puts vectors before tokens, keys or values."""

    def config(anatomy: Anatomy, random: Random) -> Any:
        if anatomy.task not in _LANGUAGE:
            return None
        count = int(random.integers(2, 5))
        return getattr(peft, name)(task_type=anatomy.task, num_virtual_tokens=count, **options)

    return Recipe(config)


def _ia3(anatomy: Anatomy, random: Random) -> Any:
    if len(anatomy.linears) < 2:
        return None
    modules = some(random, anatomy.linears, 3)
    return peft.IA3Config(target_modules=modules, feedforward_modules=modules[-1:], task_type=anatomy.task or None)


def _norms(anatomy: Anatomy, _: Random) -> Any:
    if not anatomy.norms:
        return None
    return peft.LNTuningConfig(target_modules=list(anatomy.norms[:2]), task_type=anatomy.task or None)


def _tokens(anatomy: Anatomy, random: Random) -> Any:
    if not anatomy.embedding:
        return None
    rows = sorted(int(n) for n in random.choice(anatomy.vocabulary, size=6, replace=False))
    return peft.TrainableTokensConfig(
        target_modules=[last(anatomy.embedding)], token_indices=rows, task_type=anatomy.task or None
    )


def _on_convolutions(name: str, **options: Any) -> Recipe:
    def config(anatomy: Anatomy, random: Random) -> Any:
        if not anatomy.convolutions:
            return None
        return getattr(peft, name)(target_modules=some(random, anatomy.convolutions, 2), **options)

    return Recipe(config)


def _with_head(name: str, **options: Any) -> Recipe:
    def config(anatomy: Anatomy, random: Random) -> Any:
        head = last(anatomy.output) or next(iter(anatomy.heads), "")
        if not head or not anatomy.linears:
            return None
        modules = some(random, anatomy.linears, 2)
        return getattr(peft, name)(target_modules=modules, modules_to_save=[head], **options)

    return Recipe(config)


OTHERS: dict[str, Recipe] = {
    "ia3": Recipe(_ia3),
    "loha": on_linears("LoHaConfig", r=2, alpha=3),
    "loha on convolutions": _on_convolutions("LoHaConfig", r=2, use_effective_conv2d=True),
    "lokr": on_linears("LoKrConfig", r=2, alpha=3),
    "lokr on convolutions": _on_convolutions("LoKrConfig", r=2),
    "adalora": on_linears("AdaLoraConfig", init_r=3, target_r=2, total_step=10),
    "oft": on_linears("OFTConfig", oft_block_size=4),
    "oft on convolutions": _on_convolutions("OFTConfig", oft_block_size=4),
    "boft": on_linears("BOFTConfig", boft_block_size=4),
    "hra": on_linears("HRAConfig", r=2),
    "vera": on_linears("VeraConfig", 1, r=4),
    "fourierft": on_linears("FourierFTConfig", n_frequency=20, scaling=30.0),
    "c3a": on_linears("C3AConfig", block_size=4),
    "miss": on_linears("MissConfig", r=2),
    "road": on_linears("RoadConfig", group_size=2),
    "shira": on_linears("ShiraConfig", r=2),
    "vblora": on_linears("VBLoRAConfig", r=2, num_vectors=6, vector_length=4),
    "randlora": on_linears("RandLoraConfig", r=3, randlora_alpha=6),
    "delora": on_linears("DeloraConfig", r=2),
    "gralora": on_linears("GraloraConfig", r=4, gralora_k=2),
    "hira": on_linears("HiraConfig", r=2),
    "waveft": on_linears("WaveFTConfig", n_frequency=20, scaling=4.0),
    "tinylora": on_linears("TinyLoraConfig"),
    "osf": replace(on_linears("OSFConfig"), refused="unknown_kind"),
    "psoft": replace(on_linears("PsoftConfig", r=2), refused="unknown_kind"),
    "norms": Recipe(_norms),
    "tokens": Recipe(_tokens),
    "prompt": before_tokens("PromptTuningConfig"),
    "p-tuning": before_tokens("PromptEncoderConfig", encoder_hidden_size=8),
    "prefix": before_tokens("PrefixTuningConfig"),
    "prefix, projected": before_tokens("PrefixTuningConfig", prefix_projection=True, encoder_hidden_size=8),
    "ia3 with a head": _with_head("IA3Config", feedforward_modules=[]),
    "loha with a head": _with_head("LoHaConfig", r=2),
    "oft with a head": _with_head("OFTConfig", oft_block_size=4),
    "vera with a head": _with_head("VeraConfig", r=2),
}

Kind = Callable[[Anatomy, Random], Any]
