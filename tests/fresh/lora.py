"""Recipes of LoRA: where it acts, what is saved beside it, and how its config says so."""

from collections.abc import Callable
from typing import Any

from tests.fresh.anatomy import Anatomy
from tests.fresh.recipes import Random, Recipe, peft

Options = dict[str, Any]
Chosen = Callable[[Anatomy, Random], Options | None]


def some(random: Random, names: tuple[str, ...], count: int) -> list[str]:
    """Draw names in a fixed order."""
    picked = random.choice(len(names), size=min(count, len(names)), replace=False)
    return [names[n] for n in sorted(picked)]


def lora(chosen: Chosen) -> Recipe:
    """Make a recipe of the options that differ; rank and alpha are drawn."""

    def config(anatomy: Anatomy, random: Random) -> Any:
        rank, alpha = int(random.integers(1, 5)), int(random.integers(1, 9))
        options = chosen(anatomy, random)
        if options is None:
            return None
        given = {"r": rank, "lora_alpha": alpha, "task_type": anatomy.task or None, **options}
        return peft.LoraConfig(**given)

    return Recipe(config)


def on_some(count: int = 2, **more: Any) -> Chosen:
    """Adapt some of the linear layers."""

    def chosen(anatomy: Anatomy, random: Random) -> Options | None:
        if not anatomy.linears:
            return None
        return {"target_modules": some(random, anatomy.linears, count), **more}

    return chosen


def _all_linear(anatomy: Anatomy, _: Random) -> Options | None:
    return {"target_modules": "all-linear"} if anatomy.linears else None


def _patterns(anatomy: Anatomy, random: Random) -> Options | None:
    if len(anatomy.linears) < 2:
        return None
    first, second = some(random, anatomy.linears, 2)
    return {
        "target_modules": [first, second],
        "use_rslora": bool(random.integers(2)),
        "rank_pattern": {rf".*\.0\..*{first}": 3, second: 2},
        "alpha_pattern": {first: 7},
    }


def _expression(anatomy: Anatomy, random: Random) -> Options | None:
    if len(anatomy.linears) < 2:
        return None
    first, second = some(random, anatomy.linears, 2)
    return {"target_modules": rf".*\.(?:{first}|{second})"}


def _one_layer(anatomy: Anatomy, random: Random) -> Options | None:
    if not anatomy.linears:
        return None
    return {"target_modules": some(random, anatomy.linears, 2), "layers_to_transform": [1]}


def _excluding(anatomy: Anatomy, random: Random) -> Options | None:
    if len(anatomy.linears) < 2:
        return None
    first, second = some(random, anatomy.linears, 2)
    return {"target_modules": [first, second], "exclude_modules": rf".*\.0\..*{second}"}


def _head(anatomy: Anatomy, random: Random) -> Options | None:
    if not anatomy.output or not anatomy.linears:
        return None
    return {"target_modules": [*some(random, anatomy.linears, 1), last(anatomy.output)]}


def _embedding(anatomy: Anatomy, random: Random) -> Options | None:
    if not anatomy.embedding or not anatomy.linears:
        return None
    return {"target_modules": [*some(random, anatomy.linears, 1), last(anatomy.embedding)]}


def _both_ends(anatomy: Anatomy, random: Random) -> Options | None:
    if not anatomy.embedding or not anatomy.output or not anatomy.linears:
        return None
    ends = [last(anatomy.embedding), last(anatomy.output)]
    return {"target_modules": [*some(random, anatomy.linears, 1), *ends]}


def _convolutions(anatomy: Anatomy, random: Random) -> Options | None:
    return {"target_modules": some(random, anatomy.convolutions, 2)} if anatomy.convolutions else None


def _experts(anatomy: Anatomy, random: Random) -> Options | None:
    if not anatomy.experts or not anatomy.linears:
        return None
    return {"target_modules": some(random, anatomy.linears, 1), "target_parameters": list(anatomy.experts)}


def last(path: str) -> str:
    """Give the last part of a name."""
    return path.rpartition(".")[2]


def saving(what: Callable[[Anatomy], list[str]], **more: Any) -> Chosen:
    """Save modules whole beside the factors."""

    def chosen(anatomy: Anatomy, random: Random) -> Options | None:
        names = what(anatomy)
        if not names or not anatomy.linears:
            return None
        modules = some(random, anatomy.linears, 2)
        return {"target_modules": modules, "modules_to_save": names, **more}

    return chosen


def _saved_head(anatomy: Anatomy) -> list[str]:
    return [last(anatomy.output)] if anatomy.output else list(anatomy.heads[:1])


def _saved_embedding(anatomy: Anatomy) -> list[str]:
    return [last(anatomy.embedding)] if anatomy.embedding else []


def _saved_both(anatomy: Anatomy) -> list[str]:
    if not anatomy.embedding or not anatomy.output:
        return []
    return [last(anatomy.embedding), last(anatomy.output)]


def _saved_norms(anatomy: Anatomy) -> list[str]:
    return list(anatomy.norms[:2])


def _tokens(**more: Any) -> Chosen:
    def chosen(anatomy: Anatomy, random: Random) -> Options | None:
        if not anatomy.embedding or not anatomy.linears:
            return None
        rows = sorted(int(n) for n in random.choice(anatomy.vocabulary, size=6, replace=False))
        name = last(anatomy.embedding)
        modules = some(random, anatomy.linears, 1)
        return {"target_modules": modules, "trainable_token_indices": {name: rows}, **more}

    return chosen


def _only_if_tied(chosen: Chosen) -> Chosen:
    return lambda anatomy, random: chosen(anatomy, random) if anatomy.is_tied else None


TYING = {"ensure_weight_tying": True}
LORA: dict[str, Recipe] = {
    "lora on some": lora(on_some()),
    "lora on all": lora(_all_linear),
    "lora, patterns": lora(_patterns),
    "lora by an expression": lora(_expression),
    "lora on one layer": lora(_one_layer),
    "lora, some excluded": lora(_excluding),
    "lora, rank-stabilised": lora(on_some(3, use_rslora=True)),
    "lora, no task": lora(on_some(task_type=None)),
    "lora with all biases": lora(on_some(bias="all")),
    "lora with its biases": lora(on_some(bias="lora_only")),
    "lora with biases of its own": lora(on_some(lora_bias=True)),
    "dora": lora(on_some(use_dora=True)),
    "olora": lora(on_some(init_lora_weights="olora")),
    "pissa": lora(on_some(init_lora_weights="pissa")),
    "lora on the head": lora(_head),
    "lora on the head, tied": lora(_only_if_tied(lambda a, r: None if (o := _head(a, r)) is None else {**o, **TYING})),
    "lora on the embedding": lora(_embedding),
    "lora on the embedding, tied": lora(
        _only_if_tied(lambda a, r: None if (o := _embedding(a, r)) is None else {**o, **TYING})
    ),
    "lora on both ends": lora(_both_ends),
    "lora on convolutions": lora(_convolutions),
    "dora on convolutions": lora(lambda a, r: None if (o := _convolutions(a, r)) is None else {**o, "use_dora": True}),
    "lora on experts": lora(_experts),
    "lora, head saved": lora(saving(_saved_head)),
    "lora, embedding saved": lora(saving(_saved_embedding)),
    "lora, embedding saved and tied": lora(_only_if_tied(saving(_saved_embedding, **TYING))),
    "lora, head saved and tied": lora(_only_if_tied(saving(_saved_head, **TYING))),
    "lora, both ends saved": lora(saving(_saved_both)),
    "lora, norms saved": lora(saving(_saved_norms)),
    "lora and tokens": lora(_tokens()),
    "lora and tokens, tied": lora(_only_if_tied(_tokens(**TYING))),
}
