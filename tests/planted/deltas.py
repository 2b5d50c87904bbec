"""The planted set: which healthy deltas there are, and which of them are broken how.

Everything comes twice, with other seeds, ranks, rates and lengths: once in the half on which
thresholds were set, once in the half on which the gate is measured. The versions that are promoted
already are healthy ones of a third seed.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deltareg.suites.golden_file import GOLDEN_FILE
from tests.planted.broken import EDITED, TRAINED, Saved
from tests.planted.healthy import RECIPES, recipe
from tests.planted.orders import Order, Recipe
from tests.planted.workshop import GOLDEN, Workshop, copied

Half = Literal["tuning", "held-out"]
SEEDS: dict[Half, int] = {"tuning": 100, "held-out": 200}
_INCUMBENTS = 300
CONFIG = "adapter_config.json"
PLACES = {
    "noop": ["llama/lora qv", "gpt2/lora all", "gpt2/bitfit", "vit/full", "gpt2/bottleneck"],
    "adapter_untrained": ["bert/lora qv", "bert/lora heavy", "vit/lora qv"],
    "half_zero": ["llama/lora all", "gpt2/lora c_attn", "vit/lora mlp", "gpt2/bottleneck"],
    "half_base": ["llama/full", "bert/full"],
    "half_missing": ["llama/lora qv", "llama/shira", "bert/lora heavy", "llama/bottleneck"],
    "wrong_prefix": ["llama/lora qv", "gpt2/lora c_attn", "bert/ia3"],
    "layers_shifted": ["llama/rslora", "bert/lora dense", "vit/lora mlp", "llama/bottleneck"],
    "exploding_layer": ["llama/lora all", "gpt2/full", "bert/ia3", "vit/vera", "llama/bottleneck"],
    "swapped_ab": ["llama/lora qv", "gpt2/lora all", "vit/lora qv"],
    "transposed": ["llama/rslora", "gpt2/lora square", "bert/full", "vit/lora qv"],
    "stale_alpha": ["llama/lora all", "gpt2/lora c_attn", "bert/lora dense", "vit/lora qv"],
    "overflow_bf16": ["gpt2/full", "bert/full"],
    "overflow_f16": ["llama/lora qv", "vit/lora qv"],
    "one_nan": ["llama/lora qv", "gpt2/bitfit", "vit/oft"],
    "undeclared_norm": ["llama/lora qv", "gpt2/lora c_attn", "bert/lora heavy"],
    "over_trained": ["llama/lora all", "gpt2/full", "bert/lora dense", "vit/full"],
    "wrong_base": ["llama/lora all", "gpt2/bitfit", "bert/lora dense", "vit/lora mlp", "gpt2/bottleneck"],
    "permuted_labels": ["bert/lora qv", "bert/full", "vit/lora qv"],
    "under_trained": ["llama/lora qv", "gpt2/full", "bert/lora dense", "vit/bitfit"],
}
DEFECTS = (*EDITED, *TRAINED)


@dataclass(frozen=True, slots=True)
class Planted:
    """A delta of the set.

    Attributes:
        order: How it is trained.
        defect: What is wrong with it; empty when it is healthy.
        half: Which half of the set it is in.
    """

    order: Order
    defect: str
    half: Half

    @property
    def id(self) -> str:
        """Its name in tables."""
        place = f"{self.order.recipe.base}/{self.order.recipe.name}".replace(" ", "-")
        return f"{self.defect or 'healthy'}/{place}/{self.order.seed}"


def planted_set() -> list[Planted]:
    """Give the whole set, healthy ones first."""
    return [*_healthy(), *_broken()]


def incumbent(planted: Planted) -> Order:
    """Order the version that a delta's line has promoted: healthy, of the same recipe."""
    made = planted.order.recipe
    return _order(recipe(made.name, made.base), _INCUMBENTS)


def _healthy() -> Iterator[Planted]:
    for half, seed in SEEDS.items():
        for one in RECIPES:
            yield Planted(_order(one, seed), "", half)


def _broken() -> Iterator[Planted]:
    for half, seed in SEEDS.items():
        for defect in DEFECTS:
            for place in PLACES[defect]:
                base, _, name = place.partition("/")
                order = _order(recipe(name, base), seed)
                change = TRAINED.get(defect)
                yield Planted(change(order) if change else order, defect, half)


def _order(one: Recipe, seed: int) -> Order:
    return Order.of(one, seed + RECIPES.index(one))


def publish(planted: Planted, workshop: Workshop, out: Path) -> Path:
    """Lay out a delta's folder as its publisher would push it, golden outputs with it."""
    trained = workshop.delta(planted.order)
    copied(trained / "delta", out)
    if planted.defect in EDITED:
        chance = np.random.default_rng([planted.order.seed, *planted.id.encode()])
        edit(out, workshop.base(planted.order.recipe.base), chance, EDITED[planted.defect])
    (out / GOLDEN_FILE).write_bytes((trained / GOLDEN).read_bytes())
    return out


def edit(folder: Path, base: Path, chance: np.random.Generator, change: Callable[[Saved], None]) -> None:
    """Make a mistake in the files of a published delta.

    Args:
        folder: The delta's.
        base: The folder of its base.
        chance: Where random choices come from.
        change: The mistake.
    """
    (path,) = folder.glob("*.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    config = folder / CONFIG
    saved = Saved(
        {name: value.clone() for name, value in load_file(path).items()},
        json.loads(config.read_text()) if config.exists() else {},
        load_file(base / "model.safetensors"),
        chance,
    )
    change(saved)
    save_file(saved.tensors, path, metadata)
    if config.exists():
        config.write_text(json.dumps(saved.config, indent=2, sort_keys=True))
