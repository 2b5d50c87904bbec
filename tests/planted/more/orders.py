"""Recipes and orders of the second set: how a base is tuned, and one delta to be trained."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import peft

Half = Literal["tuning", "held-out"]
HALVES: tuple[Half, Half] = ("tuning", "held-out")
SEEDS: dict[Half, int] = {"tuning": 6100, "held-out": 6200}
_LM: dict[str, Any] = {"task_type": "CAUSAL_LM"}
_HEADED: dict[str, Any] = {"task_type": "SEQ_CLS"}
_SEQ: dict[str, Any] = {"task_type": "SEQ_2_SEQ_LM"}


@dataclass(frozen=True, eq=False)
class Form:
    """What peft is told.

    Attributes:
        name: The configuration's class in peft; empty where no library but torch takes part.
        flags: What it is told.
    """

    name: str
    flags: dict[str, Any] = field(default_factory=dict[str, Any])

    def make(self) -> peft.PeftConfig:
        """Make the configuration."""
        made: peft.PeftConfig = getattr(peft, self.name)(**self.flags)
        return made


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to tune a base.

    Attributes:
        base: The base's name.
        name: What people call it.
        form: What peft is told; None where torch alone trains.
        rate: The learning rate that suits it.
        steps: How many steps it takes.
        trains: Without peft, the part of names of the weights that learn.
    """

    base: str
    name: str
    form: Form | None
    rate: float
    steps: int
    trains: str = ""

    @property
    def place(self) -> str:
        """Base and name, as the lists of faults write them."""
        return f"{self.base}/{self.name}"


@dataclass(frozen=True, slots=True)
class Order:
    """One delta to be trained.

    Attributes:
        recipe: How.
        seed: Of initial values and batches.
        rate: The learning rate.
        steps: How many steps.
        spoilt: What was wrong with its batches, a name of `spoilt_batches`; empty for nothing.
        pool: From how many examples batches are drawn; 0 draws new ones every time.
        is_on_earlier: Whether it is trained on an earlier checkpoint of the base.
        is_bf16: Whether weights are kept in bfloat16 while training.
        planned: How many steps were planned; 0 for as many as there are.
    """

    recipe: Recipe
    seed: int
    rate: float
    steps: int
    spoilt: str = ""
    pool: int = 0
    is_on_earlier: bool = False
    is_bf16: bool = False
    planned: int = 0

    @classmethod
    def of(cls, recipe: Recipe, seed: int) -> Self:
        """Order a recipe with a rate and length that vary with the seed."""
        drawn = np.random.default_rng([seed, *recipe.place.encode()])
        fast, long = drawn.random(2)
        rate = float(recipe.rate * (0.8 + 0.4 * fast))
        return cls(recipe, seed, rate, round(recipe.steps * (0.9 + 0.3 * long)))

    def with_(self, **changes: object) -> Self:
        """Give the same order but for some fields."""
        return replace(self, **changes)  # type: ignore[arg-type]  # fields by name

    def rate_left(self, step: int) -> float:
        """Say how much of the rate is left at a step; it falls to nothing where the plan ends."""
        return 1 - step / (self.planned or self.steps)

    @property
    def digest(self) -> str:
        """Say by some letters what is ordered; another order has others."""
        form = self.recipe.form
        told = (form.name, sorted(form.flags.items())) if form else ()
        rest = [self.recipe.place, self.recipe.trains, told, self.seed, self.rate, self.steps]
        marks = [self.spoilt, self.pool, self.is_on_earlier, self.is_bf16]
        marks += [self.planned] if self.planned else []
        return hashlib.sha256(repr((rest, marks)).encode()).hexdigest()[:10]


def _lora(targets: list[str] | str, rank: int, **flags: Any) -> Form:
    alpha = flags.pop("alpha", 2 * rank)
    return Form("LoraConfig", {"r": rank, "lora_alpha": alpha, "target_modules": targets, **flags})


_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_BERT = ["query", "key", "value", "dense"]
# Without the pooler, which no embedding goes through.
_MINILM = ["query", "key", "value", "output.dense", "intermediate.dense"]
_VIT_QV = ["q_proj", "v_proj"]
_CLIP = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
_T5 = ["q", "k", "v", "o", "wi", "wo"]
_W2V = [
    "attention.q_proj",
    "attention.k_proj",
    "attention.v_proj",
    "attention.out_proj",
    "intermediate_dense",
    "output_dense",
]

RECIPES = (
    Recipe("llama", "lora-qv", _lora(["q_proj", "v_proj"], 8, **_LM), 8e-3, 40),
    Recipe("llama", "lora-all", _lora(_LINEAR, 8, **_LM), 4e-3, 40),
    Recipe("llama", "rslora", _lora(_LINEAR, 16, alpha=16, use_rslora=True, **_LM), 2e-3, 40),
    Recipe(
        "llama",
        "ia3",
        Form(
            "IA3Config",
            {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"], **_LM},
        ),
        4e-2,
        40,
    ),
    Recipe(
        "llama",
        "vera",
        Form("VeraConfig", {"r": 64, "target_modules": ["q_proj", "v_proj", "o_proj"], **_LM}),
        3e-2,
        40,
    ),
    Recipe("llama", "full", None, 1e-3, 40),
    Recipe("code", "lora-attn", _lora(["c_attn"], 8, fan_in_fan_out=True, **_LM), 8e-3, 60),
    Recipe("code", "lora-all", _lora(["c_attn", "c_proj", "c_fc"], 8, fan_in_fan_out=True, **_LM), 5e-3, 60),
    Recipe("code", "prefix", Form("PrefixTuningConfig", {"num_virtual_tokens": 8, **_LM}), 5e-2, 70),
    Recipe("code", "bitfit", None, 1e-2, 70, trains=".bias"),
    Recipe("code", "full", None, 1e-3, 60),
    Recipe("minilm", "lora-qv", _lora(["query", "value"], 8), 2e-3, 14),
    Recipe("minilm", "lora-all", _lora(_MINILM, 8), 1e-3, 14),
    Recipe("minilm", "bitfit", None, 2e-3, 14, trains=".bias"),
    Recipe("topics", "lora-qv", _lora(["query", "value"], 8, **_HEADED), 8e-3, 90),
    Recipe("topics", "lora-all", _lora(_BERT, 8, **_HEADED), 5e-3, 80),
    Recipe(
        "topics",
        "ia3",
        Form(
            "IA3Config",
            {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"], **_HEADED},
        ),
        4e-2,
        100,
    ),
    Recipe("numbers", "lora-qv", _lora(["q", "v"], 8, **_SEQ), 1.2e-2, 90),
    Recipe("numbers", "lora-all", _lora(_T5, 8, **_SEQ), 8e-3, 80),
    Recipe("numbers", "full", None, 2e-3, 80),
    Recipe("digits", "lora-qv", _lora([*_VIT_QV, "k_proj"], 16), 1e-2, 220),
    Recipe("digits", "lora-mlp", _lora(["fc1", "fc2"], 16), 8e-3, 220),
    Recipe(
        "digits",
        "lokr",
        Form("LoKrConfig", {"r": 8, "alpha": 8, "target_modules": [*_VIT_QV, "fc1", "fc2"]}),
        1e-2,
        220,
    ),
    Recipe("digits", "full", None, 1.5e-3, 180),
    Recipe("speech", "lora-attn", _lora(_W2V[:4], 8), 1e-2, 80),
    Recipe("speech", "lora-all", _lora(_W2V, 8), 8e-3, 80),
    Recipe("shapes", "lora-qv", _lora(["q_proj", "v_proj"], 8), 8e-3, 140),
    Recipe("shapes", "lora-all", _lora(_CLIP, 8), 5e-3, 120),
    Recipe("shapes", "full", None, 1e-3, 120),
    Recipe("crepe", "lora-conv", _lora(["conv2", "conv4", "conv5", "conv6"], 8), 5e-3, 60),
    Recipe("crepe", "full", None, 3e-4, 60),
)


def recipe(place: str) -> Recipe:
    """Give a recipe by base and name."""
    return next(one for one in RECIPES if one.place == place)
