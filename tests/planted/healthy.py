"""Healthy deltas: ways to tune the planted bases that people use, with libraries they use.

peft trains and saves whatever it has a form for; torch trains biases, some weights or all of them,
and safetensors saves them as people do who need no library. Bottleneck adapters are trained here
and saved as the adapters library lays them out, which needs another transformers than this.
"""

from dataclasses import dataclass
from typing import Any

import peft

from tests.planted.orders import FormMaker, Order, Recipe

QV = ["q_proj", "v_proj"]
BERT_QV = ["query", "value"]
VIT_QV = ["q_proj", "v_proj"]


@dataclass(frozen=True, eq=False)
class Form:
    """Makes what peft is told, with the order's rank.

    Attributes:
        name: The configuration's class in peft.
        flags: What it is told beside.
        alpha: Its scale as a multiple of the rank; None where it has none.
        is_ranked: Whether it has a rank.
    """

    name: str
    flags: dict[str, Any]
    alpha: int | None = None
    is_ranked: bool = True

    def __call__(self, order: Order) -> peft.PeftConfig:
        """Make the configuration for an order."""
        sized = {"r": order.rank} if self.is_ranked else {}
        if self.alpha is not None:
            sized[_ALPHA.get(self.name, "alpha")] = self.alpha * order.rank
        return getattr(peft, self.name)(**sized, **self.flags)


def _form(name: str, *, alpha: int | None = None, no_rank: bool = False, **flags: Any) -> FormMaker:
    return Form(name, flags, alpha, not no_rank)


_ALPHA = {"LoraConfig": "lora_alpha"}
_LM: dict[str, Any] = {"task_type": "CAUSAL_LM"}
_HEAD: dict[str, Any] = {"modules_to_save": ["classifier"]}


def _lora(targets: list[str] | str, *, alpha: int = 2, **flags: Any) -> FormMaker:
    return _form("LoraConfig", target_modules=targets, alpha=alpha, **flags)


def _virtual(name: str, **flags: Any) -> FormMaker:
    return _form(name, no_rank=True, num_virtual_tokens=6, **_LM, **flags)


RECIPES = (
    Recipe("lora qv", "llama", "lora", _lora(QV, **_LM), 8e-3),
    Recipe("lora all", "llama", "lora", _lora("all-linear", alpha=1, **_LM), 8e-3, rank=8),
    Recipe("dora", "llama", "lora", _lora(["q_proj", "o_proj", "up_proj"], use_dora=True, **_LM), 8e-3),
    Recipe("rslora", "llama", "lora", _lora(["o_proj", "down_proj"], use_rslora=True, **_LM), 6e-3, rank=8),
    Recipe("loha", "llama", "loha", _form("LoHaConfig", target_modules=[*QV, "down_proj"], alpha=1, **_LM), 2e-2),
    Recipe(
        "ia3",
        "llama",
        "ia3",
        _form(
            "IA3Config",
            no_rank=True,
            target_modules=["k_proj", "v_proj", "down_proj"],
            feedforward_modules=["down_proj"],
            **_LM,
        ),
        5e-2,
        90,
    ),
    Recipe("prompt", "llama", "prompt", _virtual("PromptTuningConfig"), 1e-1, 120),
    Recipe(
        "shira", "llama", "shira", _form("ShiraConfig", target_modules=["q_proj", "o_proj", "down_proj"], **_LM), 2e-2
    ),
    Recipe("full", "llama", "full", None, 1.5e-3, layout="model"),
    Recipe("lora c_attn", "gpt2", "lora", _lora(["c_attn"], fan_in_fan_out=True, **_LM), 1e-2),
    Recipe("lora all", "gpt2", "lora", _lora(["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True, **_LM), 8e-3, rank=8),
    Recipe("lora square", "gpt2", "lora", _lora(["attn.c_proj", "mlp.c_proj"], fan_in_fan_out=True, **_LM), 1e-2),
    Recipe("prefix", "gpt2", "prefix", _virtual("PrefixTuningConfig"), 8e-2, 120),
    Recipe("bitfit", "gpt2", "bitfit", None, 1.5e-2, 120, trains=".bias", layout="biases"),
    Recipe("bitfit added", "gpt2", "bitfit", None, 1.5e-2, 120, trains=".bias", layout="differences"),
    Recipe("sparse", "gpt2", "sparse", None, 8e-3, trains="mlp", layout="sparse"),
    Recipe("full", "gpt2", "full", None, 1.5e-3, layout="model"),
    Recipe("lora qv", "bert", "lora", _lora(BERT_QV, task_type="SEQ_CLS"), 0.012, 90),
    Recipe("lora dense", "bert", "lora", _lora(["query", "key", "value", "dense"], task_type="SEQ_CLS"), 0.0075, 90),
    Recipe("lora heavy", "bert", "lora", _lora(BERT_QV, alpha=4, **_HEAD), 0.006, 90, rank=8),
    Recipe(
        "ia3",
        "bert",
        "ia3",
        _form(
            "IA3Config",
            no_rank=True,
            target_modules=["key", "value", "output.dense"],
            feedforward_modules=["output.dense"],
            **_HEAD,
        ),
        0.045,
        130,
    ),
    Recipe(
        "lokr", "bert", "lokr", _form("LoKrConfig", target_modules=[*BERT_QV, "dense"], alpha=1, **_HEAD), 0.015, 90
    ),
    Recipe(
        "layer norms",
        "bert",
        "layernorm",
        _form("LNTuningConfig", no_rank=True, target_modules=["LayerNorm"], **_HEAD),
        2e-2,
    ),
    Recipe("bitfit", "bert", "bitfit", None, 0.03, 150, trains=".bias", layout="biases"),
    Recipe("full", "bert", "full", None, 0.0015, 90, layout="model"),
    Recipe("lora qv", "vit", "lora", _lora(VIT_QV, **_HEAD), 8e-3),
    Recipe("lora mlp", "vit", "lora", _lora(["fc1", "fc2"], alpha=1, **_HEAD), 2e-2, 90),
    Recipe("dora", "vit", "lora", _lora(VIT_QV, use_dora=True, **_HEAD), 6e-3),
    Recipe(
        "oft", "vit", "oft", _form("OFTConfig", no_rank=True, oft_block_size=8, target_modules=VIT_QV, **_HEAD), 1e-2
    ),
    Recipe("vera", "vit", "vera", _form("VeraConfig", target_modules=VIT_QV, **_HEAD), 3e-2, rank=16),
    Recipe("bitfit", "vit", "bitfit", None, 2e-2, 130, trains=".bias", layout="biases"),
    Recipe("full", "vit", "full", None, 1e-3, layout="model"),
    Recipe("bottleneck", "llama", "bottleneck", None, 8e-3, rank=8, layout="bottleneck"),
    Recipe("bottleneck", "gpt2", "bottleneck", None, 8e-3, rank=8, layout="bottleneck"),
)


def recipe(name: str, base: str) -> Recipe:
    """Give a recipe by its name and base."""
    return next(one for one in RECIPES if (one.name, one.base) == (name, base))
