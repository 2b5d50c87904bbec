"""Checkpoints of one real LoRA run by peft on MiniLM: r=16, all linear layers, every ten steps.

`lora-steps` is every second checkpoint against the one before it; alone stands the last one.
"""

from functools import partial
from pathlib import Path

from tests.benchmarks.data import sentence_training as training
from tests.benchmarks.data.recipe import ALONE, WIDER, Recipe, Size
from tests.benchmarks.weights import cache_folder, made, read, write

CHECKPOINTS, _RANK, _LR = 10, 16, 2e-4
_NEEDS = (*training.NEEDS, "peft")


def folders(size: Size) -> list[Path]:
    """Give the folders of the checkpoints in the layout of peft, oldest first."""
    root = cache_folder() / f"steps-{size.steps:g}" / "run-lora"
    made(root, lambda partial: _train(partial, size))
    return sorted(root.iterdir())


def _train(folder: Path, size: Size) -> None:
    import peft

    config = peft.LoraConfig(r=_RANK, lora_alpha=2 * _RANK, target_modules="all-linear")
    network = peft.get_peft_model(training.start(is_bf16=True), config)
    between = max(1, round(10 * size.steps))

    def save(step):
        if step % between == 0:
            network.save_pretrained(str(folder / f"checkpoint-{step:03d}"))

    chosen = [p for p in network.parameters() if p.requires_grad]
    training.train(network, chosen, steps=CHECKPOINTS * between, lr=_LR, after=save)


def _tensors(folder: Path) -> dict:
    _, tensors, _ = read(folder / "adapter_model.safetensors")
    return tensors


def _steps(folder: Path, size: Size) -> None:
    saved = [_tensors(path) for path in folders(size)]
    for name, chosen in (("base", saved[::2]), ("tuned", saved[1::2])):
        joined = {f"{i}.{n}": a for i, one in enumerate(chosen) for n, a in one.items()}
        write(folder / f"{name}.safetensors", "F32", joined)


def _alone(folder: Path, size: Size, *, dtype: str) -> None:
    tensors = {n: a.view("<f4") for n, a in _tensors(folders(size)[-1]).items()}
    write(folder / "tuned.safetensors", dtype, training.in_dtype(tensors, dtype))


SETS = (
    Recipe("lora-steps-fp32", ("LoRA", "steps"), WIDER, _steps, _NEEDS),
    Recipe("lora-alone-bf16", ("LoRA", "bf16"), ALONE, partial(_alone, dtype="BF16"), _NEEDS),
    Recipe("lora-alone-fp32", ("LoRA", "fp32"), ALONE, partial(_alone, dtype="F32"), _NEEDS),
)
