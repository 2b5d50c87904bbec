"""A model by rule, with the shapes of a Qwen, and fine-tunes of it that change a given share.

A weight is heavy-tailed noise under a scale of its layer, its row and its column. A fine-tune adds
what Adam adds: a step of one size whatever the weight's, larger in some rows; its size is searched
by bisection until the share of the first MLP changes in bf16. Of the embedding's rows 70 % stay as
they are, unless the share is 80 %. Fifteen layers are 280 million parameters.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks.data.recipe import ALONE, BF16, WIDER, Recipe, Size
from tests.benchmarks.weights import header, rounded, widened

_HIDDEN, _INNER, _KEYS, _ROWS_A_LAYER = 896, 4864, 128, 4369
_UNTOUCHED, _ALL_ROWS = 0.7, 80
_EMBEDDING, _EVERY = "model.embed_tokens.weight", 8
_MEASURED = tuple(f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))


def make(folder: Path, size: Size, *, dtype: str, percent: int | None) -> None:
    """Write the pair, or with no share the base alone, tensor by tensor."""
    shapes = _shapes(size.layers)
    scale = 0.0 if percent is None else _scale(percent / 100, shapes)
    with (folder / "tuned.safetensors").open("wb") as tuned:
        tuned.write(header(dtype, shapes))
        if percent is None:
            for name, shape in shapes.items():
                tuned.write(rounded(_weight(name, shape), dtype).data)
            return
        with (folder / "base.safetensors").open("wb") as base:
            base.write(header(dtype, shapes))
            for name, shape in shapes.items():
                before, after = _pair(name, shape, dtype, scale, percent)
                base.write(before.data)
                tuned.write(after.data)


def _shapes(layers: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {_EMBEDDING: (_ROWS_A_LAYER * layers, _HIDDEN)}
    wide = {"mlp.gate_proj": _INNER, "mlp.up_proj": _INNER, "self_attn.q_proj": _HIDDEN}
    narrow = {"self_attn.k_proj": _KEYS, "self_attn.v_proj": _KEYS, "self_attn.o_proj": _HIDDEN}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for name, height in (wide | narrow).items():
            found[f"{prefix}.{name}.weight"] = (height, _HIDDEN)
        found[f"{prefix}.mlp.down_proj.weight"] = (_HIDDEN, _INNER)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"{prefix}.{norm}.weight"] = (_HIDDEN,)
    return found | {"model.norm.weight": (_HIDDEN,)}


def _pair(name, shape, dtype, scale, percent):
    before = rounded(_weight(name, shape), dtype)
    start = {"BF16": widened, "F16": lambda w: w.view("<f2").astype("<f4")}.get(dtype, lambda w: w.view("<f4"))(before)
    step = _step(name, shape) * np.float32(scale)
    if name == _EMBEDDING and percent < _ALL_ROWS:
        step[_chance(f"{name} rows").random(shape[0]) < _UNTOUCHED] = 0
    return before, rounded(start + step, dtype)


def _weight(name, shape):
    chance = _chance(name)
    if len(shape) == 1:
        return (1 + 0.1 * chance.standard_normal(shape)).astype("<f4")
    noise = chance.standard_normal(shape, np.float32)
    noise *= 1 + np.float32(0.15) * noise * noise  # heavy tails: a kurtosis of about 14
    rows, columns = (np.exp(0.3 * chance.standard_normal(count)) for count in shape)
    layer = 0.012 * math.exp(0.3 * chance.standard_normal())
    noise *= (layer * rows).astype("<f4")[:, None]
    noise *= columns.astype("<f4")
    return noise


def _step(name, shape):
    chance = _chance(f"{name} step")
    step = chance.standard_normal(shape, np.float32)
    rows = np.exp(0.3 * chance.standard_normal(shape[0])).astype("<f4")
    return step * (rows if len(shape) == 1 else rows[:, None])


def _scale(share: float, shapes) -> float:
    """Search for the size of a step, on every eighth row of the first MLP."""
    weights, steps = (
        np.concatenate([draw(name, shapes[name])[::_EVERY].ravel() for name in _MEASURED]) for draw in (_weight, _step)
    )
    before = rounded(weights, "BF16")
    start = widened(before)
    least, most = 1e-8, 1e-1
    for _ in range(24):
        middle = math.sqrt(least * most)
        changed = (rounded(start + steps * np.float32(middle), "BF16") != before).mean()
        least, most = (middle, most) if changed < share else (least, middle)
    return math.sqrt(least * most)


def _chance(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


def _recipe(name, label, group, *, dtype, percent) -> Recipe:
    kept = partial(make, dtype=dtype, percent=percent)
    return Recipe(f"synthetic-{name}", ("synthetic", label), group, kept, is_synthetic=True)


SETS = (
    *(_recipe(f"{p}-bf16", f"{p} %", BF16, dtype="BF16", percent=p) for p in (2, 10, 40, 80)),
    _recipe("40-fp16", "fp16", WIDER, dtype="F16", percent=40),
    _recipe("40-fp32", "fp32", WIDER, dtype="F32", percent=40),
    _recipe("alone-bf16", "bf16", ALONE, dtype="BF16", percent=None),
)
