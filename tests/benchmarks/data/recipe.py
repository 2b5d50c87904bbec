"""How a set of the benchmark is made, and where it lies once it was."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.weights import Weights, cache_folder, load, made


@dataclass(frozen=True)
class Size:
    """How much is made.

    Attributes:
        layers: Layers of the synthetic model; 15 of them are 280 million parameters.
        steps: The share of its training steps that a real fine-tune gets.
    """

    layers: int = 3
    steps: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """One set.

    Attributes:
        name: What the command line calls it.
        label: Two short lines above its column.
        group: The table that it stands in.
        make: Writes `tuned.safetensors`, and `base.safetensors` beside it, into a folder.
        needs: Modules that have to be installed.
        is_synthetic: Whether it depends on the layers of a size, and not on its steps.
    """

    name: str
    label: tuple[str, str]
    group: str
    make: Callable[[Path, Size], object]
    needs: tuple[str, ...] = ()
    is_synthetic: bool = False

    def missing(self) -> str:
        """Say why it cannot be made here; empty when it can."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return f"not installed: {', '.join(absent)}" if absent else ""

    def open(self, size: Size) -> Weights:
        """Give the set, made first where it never was."""
        kind = f"layers-{size.layers}" if self.is_synthetic else f"steps-{size.steps:g}"
        folder = cache_folder() / kind / self.name
        return load(self.name, made(folder, lambda partial: self.make(partial, size)))


BF16, WIDER, ALONE = "bf16 fine-tunes", "fp16, fp32, checkpoints", "without a base"
