"""Fine-tunes of the real MiniLM, and the model by itself.

The pairs in bf16 and fp16 start from weights that bf16 holds exactly, as those of a base in bf16
are; the pair in fp32 from the weights as published.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.data import sentence_training as training
from tests.benchmarks.data.recipe import ALONE, BF16, WIDER, Recipe, Size
from tests.benchmarks.weights import cache_folder, made, read, write


@dataclass(frozen=True)
class Run:
    """One training run; what it ends with is kept in float32."""

    name: str
    steps: int
    lr: float
    is_bf16: bool = True
    only: str = ""

    def make(self, folder: Path, size: Size) -> None:
        network = training.start(is_bf16=self.is_bf16)
        write(folder / "start.safetensors", "F32", training.float_tensors(network))
        chosen = [p for name, p in network.named_parameters() if name.endswith(self.only)]
        steps = max(1, round(self.steps * size.steps))
        training.train(network, chosen, steps=steps, lr=self.lr)
        write(folder / "end.safetensors", "F32", training.float_tensors(network))

    def open(self, size: Size) -> tuple[dict, dict]:
        folder = cache_folder() / f"steps-{size.steps:g}" / f"run-{self.name}"
        made(folder, lambda partial: self.make(partial, size))
        return _floats(folder / "start.safetensors"), _floats(folder / "end.safetensors")


GENTLE = Run("minilm-2e-5", steps=300, lr=2e-5)
STRONG = Run("minilm-1e-4", steps=70, lr=1e-4)
BIASES = Run("minilm-biases", steps=100, lr=1e-3, only="bias")
FEW_BIASES = Run("minilm-biases-1e-4", steps=100, lr=1e-4, only="bias")
PUBLISHED = Run("minilm-2e-5-published", steps=300, lr=2e-5, is_bf16=False)


def _floats(path: Path) -> dict:
    return {name: words.view("<f4") for name, words in read(path)[1].items()}


def _pair(folder: Path, size: Size, *, run: Run, dtype: str) -> None:
    base, tuned = run.open(size)
    write(folder / "base.safetensors", dtype, training.in_dtype(base, dtype))
    write(folder / "tuned.safetensors", dtype, training.in_dtype(tuned, dtype))


def _alone(folder: Path, _: Size, *, dtype: str) -> None:
    tensors = training.float_tensors(training.start(is_bf16=False))
    write(folder / "tuned.safetensors", dtype, training.in_dtype(tensors, dtype))


def _recipe(name, label, group, make, **options) -> Recipe:
    return Recipe(name, label, group, partial(make, **options), training.NEEDS)


SETS = (
    _recipe("minilm-2e-5-bf16", ("MiniLM", "2e-5"), BF16, _pair, run=GENTLE, dtype="BF16"),
    _recipe("minilm-1e-4-bf16", ("MiniLM", "1e-4"), BF16, _pair, run=STRONG, dtype="BF16"),
    _recipe("minilm-biases-bf16", ("biases", "1e-3"), BF16, _pair, run=BIASES, dtype="BF16"),
    _recipe("minilm-biases-1e-4-bf16", ("biases", "1e-4"), BF16, _pair, run=FEW_BIASES, dtype="BF16"),
    _recipe("minilm-2e-5-fp16", ("MiniLM", "fp16"), WIDER, _pair, run=GENTLE, dtype="F16"),
    _recipe("minilm-2e-5-fp32", ("MiniLM", "fp32"), WIDER, _pair, run=PUBLISHED, dtype="F32"),
    _recipe("minilm-alone-bf16", ("MiniLM", "bf16"), ALONE, _alone, dtype="BF16"),
    _recipe("minilm-alone-fp32", ("MiniLM", "fp32"), ALONE, _alone, dtype="F32"),
)
