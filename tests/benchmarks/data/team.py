"""LoRA deltas as a team has them after a while: 300 pushes to some forty lines over one base.

Made from a seed, in the layout of peft, for the real MiniLM. Half of the lines train both factors;
some keep A as it was drawn (LoRA-FA: Zhang et al., 2023, arXiv 2308.03303), and several lines draw
with the same seed. A version moves on from the one before, or comes again as it was: the same
files, the same weights with another README, or cast to bf16 for serving.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.benchmarks.weights import cache_folder, made, rounded, write

COUNT, _LINES, _LAYERS, _HIDDEN, _INNER = 300, 40, 6, 384, 1536
_MODULES = {
    "attention.self.query": (_HIDDEN, _HIDDEN),
    "attention.self.key": (_HIDDEN, _HIDDEN),
    "attention.self.value": (_HIDDEN, _HIDDEN),
    "attention.output.dense": (_HIDDEN, _HIDDEN),
    "intermediate.dense": (_INNER, _HIDDEN),
    "output.dense": (_HIDDEN, _INNER),
}
_TARGETS = (("query", "value"), ("query", "key", "value"), ("query", "key", "value", "dense"))
_RANKS, _SEEDS = (4, 8, 8, 16, 16, 32), (0, 0, 42, 42, 1234, 7, 11, 13)
_AGAIN = ("moves on", "same files", "same weights", "cast")
_ODDS = (0.76, 0.08, 0.08, 0.08)


@dataclass(frozen=True)
class Delta:
    """One push: a folder, and the line that it goes to."""

    line: str
    folder: Path


@dataclass(frozen=True)
class _Version:
    """The state of a line."""

    tensors: dict[str, np.ndarray]
    rank: int
    targets: tuple[str, ...]
    keeps_a: bool
    dtype: str = "F32"
    readme: int = 0


def deltas(count: int = COUNT) -> list[Delta]:
    """Give the pushes in their order."""
    root = made(cache_folder() / f"team-{count}", lambda partial: _write_all(partial, count))
    return [Delta(path.name.partition("-")[2], path) for path in sorted(root.iterdir())]


def _write_all(root: Path, count: int) -> None:
    chance = np.random.default_rng(9)
    lines: dict[int, _Version] = {}
    for number in range(count):
        line = int(chance.integers(_LINES)) if number >= _LINES else number
        known = lines.get(line)
        lines[line] = _first(chance) if known is None else _next(known, chance)
        _write(root / f"{number:03d}-task{line:02d}", lines[line])


def _first(chance) -> _Version:
    rank, targets = int(chance.choice(_RANKS)), _TARGETS[chance.integers(len(_TARGETS))]
    draw = np.random.default_rng(int(chance.choice(_SEEDS)))
    tensors = {}
    for module, (height, width) in _modules(targets):
        bound = 1 / np.sqrt(width)  # kaiming_uniform with a = sqrt(5), as peft draws A
        tensors[f"{module}.lora_A.weight"] = draw.uniform(-bound, bound, (rank, width))
        tensors[f"{module}.lora_B.weight"] = np.zeros((height, rank))
    single = {name: array.astype("<f4") for name, array in tensors.items()}
    dtype = "BF16" if chance.random() < 0.25 else "F32"
    return _trained(_Version(single, rank, targets, chance.random() < 0.3, dtype), chance)


def _next(version: _Version, chance) -> _Version:
    what = chance.choice(_AGAIN, p=_ODDS)
    if what == "moves on":
        return _trained(version, chance)
    if what == "same weights":
        return replace(version, readme=version.readme + 1)
    return replace(version, dtype="BF16") if what == "cast" else version


def _trained(version: _Version, chance) -> _Version:
    """Move the trained factors as Adam does; one version in four trains the upper half only."""
    from_layer = _LAYERS // 2 if chance.random() < 0.25 else 0
    steps = 2e-4 * np.sqrt(chance.integers(50, 800))
    tensors = dict(version.tensors)
    for name, array in version.tensors.items():
        is_kept = version.keeps_a and "lora_A" in name
        if is_kept or int(name.split(".layer.")[1].partition(".")[0]) < from_layer:
            continue
        rows = np.exp(0.4 * chance.standard_normal((len(array), 1), np.float32))
        moved = chance.standard_normal(array.shape, np.float32) * rows * np.float32(steps)
        tensors[name] = array + moved
    return replace(version, tensors=tensors)


def _modules(targets) -> Iterator[tuple[str, tuple[int, int]]]:
    for layer in range(_LAYERS):
        for module, shape in _MODULES.items():
            if module.rpartition(".")[2] in targets:
                yield f"base_model.model.encoder.layer.{layer}.{module}", shape


def _write(folder: Path, version: _Version) -> None:
    words = {name: rounded(array, version.dtype) for name, array in version.tensors.items()}
    write(folder / "adapter_model.safetensors", version.dtype, words)
    config = {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "r": version.rank,
        "lora_alpha": 2 * version.rank,
        "target_modules": list(version.targets),
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": False,
        "peft_version": "0.21.2",
        "base_model_name_or_path": "minilm",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    (folder / "README.md").write_text(f"# A LoRA of MiniLM\n\nRevision {version.readme}.\n")
