"""A small model and the checkpoints of its training, each a few steps from the one before."""

from functools import cache

import numpy as np
from safetensors.numpy import save_file

ROWS, WIDTH = 512, 256
NAMES = ("embed_tokens.weight", "layers.0.weight", "layers.1.weight")
LINE = "team/run"


def weights(seed=3):
    """Make a model's weights in F16, spread as trained weights are."""
    chance = np.random.default_rng(seed)
    return {name: (chance.standard_normal((ROWS, WIDTH)) * 0.02).astype(np.float16) for name in NAMES}


def trained(tensors, seed, *, step=3, share=0.3, names=NAMES):
    """Move some of the weights by up to `step` units in the last place."""
    chance = np.random.default_rng(seed)
    moved = dict(tensors)
    for name in names:
        words = tensors[name].view(np.uint16).copy()
        chosen = chance.random(words.shape) < share
        words[chosen] += chance.integers(1, step + 1, int(chosen.sum())).astype(np.uint16)
        moved[name] = words.view(np.float16)
    return moved


@cache
def run_of(count, **how):
    """Make the base and the checkpoints of a run, each trained on from the one before."""
    states = [weights()]
    for seed in range(count):
        states.append(trained(states[-1], seed, **how))
    return states


@cache
def late_run_of(count):
    """Make the base and the last checkpoints of a long run: far from the base, near each other."""
    states = [weights(), trained(weights(), 0, share=1.0, step=400)]
    for seed in range(1, count):
        states.append(trained(states[-1], seed, share=0.002, step=1))
    return states


def write(folder, tensors):
    """Write a model's folder."""
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text('{"model_type": "plain"}')
    return folder


def write_run(folder, count, *, late=False, **how):
    """Write `base` and `v1`, `v2`, … into a folder; give the paths, the base's first.

    With `late` they are so near each other that each is stored against the one before.
    """
    names = ["base", *(f"v{n}" for n in range(1, count + 1))]
    states = late_run_of(count) if late else run_of(count, **how)
    return [write(folder / n, t) for n, t in zip(names, states, strict=True)]
