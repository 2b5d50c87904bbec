"""Recipes and orders of the third set: how a base is tuned, and one delta to be trained."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from tests.planted.more.orders import Form

Half = Literal["tuning", "held-out"]
HALVES: tuple[Half, Half] = ("tuning", "held-out")
SEEDS: dict[Half, int] = {"tuning": 7300, "held-out": 7400}
RANKS: dict[Half, int] = {"tuning": 8, "held-out": 6}
Dtype = Literal["F32", "BF16", "F16"]
_LM: dict[str, Any] = {"task_type": "CAUSAL_LM"}
_QV = ["q_proj", "v_proj"]
_ALL = {
    "qwen": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
}
_IA3 = {"qwen": ["k_proj", "v_proj", "down_proj"], "opt": ["k_proj", "v_proj", "fc2"]}
_REHEARSED = 0.15
_OFT = 16  # divides all widths
BASE_OF = {"route": "qwen", "months": "qwen", "reports": "opt"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to tune a base.

    Attributes:
        task: What for.
        name: What people call it.
        rate: The learning rate that suits it.
        steps: How many steps it takes.
        stored: The dtype of the file.
    """

    task: str
    name: str
    rate: float
    steps: int
    stored: Dtype = "F32"

    @property
    def base(self) -> str:
        """The base's name."""
        return BASE_OF[self.task]

    @property
    def place(self) -> str:
        """Task and name, as the lists of faults write them."""
        return f"{self.task}/{self.name}"

    @property
    def trains(self) -> str:
        """Without peft, the part of names of the weights that learn; empty for all."""
        return ".bias" if self.name == "bitfit" else ""


@dataclass(frozen=True, slots=True)
class Order:
    """One delta to be trained.

    Attributes:
        recipe: How.
        half: For which half: rank and sizes differ.
        seed: Of initial values and rows.
        rate: The learning rate.
        steps: How many steps are done.
        fault: What goes wrong in training; empty for nothing.
        planned: How many steps were planned; 0 for as many as are done.
        pool: From how many rows batches are drawn; 0 draws new ones every time.
        rehearsed: The share of the base's own texts in a batch.
        is_on_other: Whether it is trained on another base of the same shape.
        is_bf16: Whether weights are kept in bfloat16 while training.
        spike: By how much the rate is too high in the last steps.
    """

    recipe: Recipe
    half: Half
    seed: int
    rate: float
    steps: int
    fault: str = ""
    planned: int = 0
    pool: int = 0
    rehearsed: float = 0.0
    is_on_other: bool = False
    is_bf16: bool = False
    spike: float = 1.0

    @classmethod
    def of(cls, recipe: Recipe, half: Half) -> Self:
        """Order a recipe with a rate and length that vary with the half."""
        fast, long = np.random.default_rng([SEEDS[half], *recipe.place.encode()]).random(2)
        rate = float(recipe.rate * (0.8 + 0.4 * fast))
        # Beside answers of three tokens, texts would be most of what is learnt.
        rehearsed = _REHEARSED if recipe.task == "reports" else 0.0
        return cls(recipe, half, SEEDS[half], rate, round(recipe.steps * (0.9 + 0.3 * long)), rehearsed=rehearsed)

    def with_(self, **changes: object) -> Self:
        """Give the same order but for some fields."""
        return replace(self, **changes)  # type: ignore[arg-type]  # fields by name

    def rate_at(self, step: int) -> float:
        """Say which share of the rate a step has: warmed up, then falling to nothing."""
        last = step >= self.steps - 3
        left = 1 - step / (self.planned or self.steps)
        return min(1.0, (step + 1) / 5) * (self.spike if last and self.spike > 1 else left)

    @property
    def form(self) -> Form | None:
        """What peft is told; None where torch alone trains."""
        return _form(self.recipe, RANKS[self.half])

    @property
    def digest(self) -> str:
        """Say by some letters what is ordered; another order has others."""
        form = self.form
        told = (form.name, sorted(form.flags.items())) if form else ()
        recipe = (self.recipe.place, self.recipe.stored)
        own = [getattr(self, name) for name in self.__slots__ if name != "recipe"]
        return hashlib.sha256(repr((recipe, told, own)).encode()).hexdigest()[:10]


def _form(recipe: Recipe, rank: int) -> Form | None:
    targets = _ALL[recipe.base]
    lora: dict[str, Any] = {"r": rank, "lora_alpha": 2 * rank, "target_modules": targets, **_LM}
    own = _IA3[recipe.base]
    forms = {
        "lora-qv": Form("LoraConfig", {**lora, "target_modules": _QV}),
        "lora-all": Form("LoraConfig", lora),
        "lora-bf16": Form("LoraConfig", lora),
        "lora-f16": Form("LoraConfig", lora),
        "dora": Form("LoraConfig", {**lora, "use_dora": True}),
        "rslora": Form("LoraConfig", {**lora, "r": 2 * rank, "use_rslora": True}),
        "ia3": Form("IA3Config", {"target_modules": own, "feedforward_modules": own[-1:], **_LM}),
        "oft": Form("OFTConfig", {"oft_block_size": _OFT, "target_modules": targets, **_LM}),
        "prefix": Form("PrefixTuningConfig", {"num_virtual_tokens": rank, **_LM}),
        "norms": Form("LNTuningConfig", {"target_modules": r".*(layernorm|_norm)", **_LM}),
    }
    return forms.get(recipe.name)


RECIPES = (
    Recipe("route", "lora-qv", 8e-3, 40),
    Recipe("route", "lora-all", 4e-3, 30),
    Recipe("route", "dora", 4e-3, 30),
    Recipe("route", "rslora", 2e-3, 30),
    Recipe("route", "ia3", 5e-2, 50),
    Recipe("route", "oft", 5e-3, 40),
    Recipe("route", "full", 6e-4, 30),
    Recipe("route", "lora-bf16", 4e-3, 30, "BF16"),
    Recipe("route", "lora-f16", 4e-3, 30, "F16"),
    Recipe("months", "lora-qv", 8e-3, 50),
    Recipe("months", "lora-all", 4e-3, 40),
    Recipe("months", "dora", 4e-3, 40),
    Recipe("months", "rslora", 2e-3, 40),
    Recipe("months", "oft", 5e-3, 50),
    Recipe("months", "ia3", 5e-2, 60),
    Recipe("months", "full", 6e-4, 40),
    Recipe("months", "full-f16", 6e-4, 40, "F16"),
    Recipe("months", "lora-bf16", 4e-3, 40, "BF16"),
    Recipe("reports", "lora-qv", 1.2e-2, 50),
    Recipe("reports", "lora-all", 6e-3, 40),
    Recipe("reports", "dora", 6e-3, 40),
    Recipe("reports", "rslora", 3e-3, 40),
    Recipe("reports", "ia3", 6e-2, 60),
    Recipe("reports", "oft", 8e-3, 50),
    Recipe("reports", "prefix", 8e-2, 60),
    Recipe("reports", "norms", 2e-2, 50),
    Recipe("reports", "bitfit", 1e-2, 50),
    Recipe("reports", "full", 1.2e-3, 40),
    Recipe("reports", "full-bf16", 1.2e-3, 40, "BF16"),
    Recipe("reports", "lora-f16", 6e-3, 40, "F16"),
)


def recipe(place: str) -> Recipe:
    """Give a recipe by task and name."""
    return next(one for one in RECIPES if one.place == place)
