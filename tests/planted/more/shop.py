"""Where bases and deltas of the second set are trained and kept, each once.

    kept/bases/NAME             as its library saves it; NAME-earlier beside it
    kept/deltas/NAME/delta      as its library saves it
    kept/deltas/NAME/golden.safetensors, moments.safetensors, average.safetensors
    kept/damage/…               what a fault costs by an independent measure

A folder gets its name when it is whole, so that a run that was stopped goes on.
"""

import json
import os
import shutil
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from deltareg.golden.first_batches import BATCHES, form_of, shown_to
from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, encode
from deltareg.suites.training_progress import TrainingProgress
from deltareg.suites.training_start import TrainingStart
from tests.planted.more.bases import descend_once, joined, make_base, subjects
from tests.planted.more.broken_files import EDITED, Files, Tensors
from tests.planted.more.items import Item
from tests.planted.more.orders import Order
from tests.planted.more.spoilt_batches import SPOILERS
from tests.planted.more.subject import Examples, Subject, own_loss
from tests.small_networks import quiet

CONFIG = "adapter_config.json"
_GOLDEN, _MOMENTS, _AVERAGE = (f"{name}.safetensors" for name in ("golden", "moments", "average"))
_DECAY = 0.9999
_GOLDEN_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder in which things are made and kept.

    Attributes:
        kept: Where it is.
        share: For which share of its steps anything is trained; less than 1 for a quick look.
    """

    kept: Path
    share: float = 1.0

    def subject(self, name: str) -> Subject:
        """Give a base's subject."""
        return subjects(self.kept)[name]

    def base(self, name: str, *, is_earlier: bool = False) -> Path:
        """Give a base's folder; the earlier checkpoint's where that is asked for."""
        path, earlier = (self.kept / "bases" / f"{name}{end}" for end in ("", "-earlier"))
        if not path.exists():
            subject, made = self.subject(name), _fresh(path)
            shutil.rmtree(earlier, ignore_errors=True)
            with quiet():
                make_base(subject, made, earlier=earlier if subject.has_revision else None, share=self.share)
            _named(made, path)
        return earlier if is_earlier else path

    def delta(self, order: Order) -> Path:
        """Give the folder of a trained delta and what was kept beside it."""
        name = f"{order.recipe.place.replace('/', '-')}-{order.digest}"
        path = self.kept / "deltas" / name
        if not path.exists():
            self.base(order.recipe.base)
            made = _fresh(path)
            made.mkdir(parents=True)
            with quiet(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._train(order, made)
            _named(made, path)
        return path

    def publish(self, item: Item, out: Path) -> Path:
        """Lay out an item as its publisher would push it, golden outputs with it."""
        trained = self.delta(item.order)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(trained / "delta", out)
        _without_code(out / CONFIG)
        if item.fault in EDITED:
            self._edit(item, trained, out)
        if (trained / _GOLDEN).exists():
            (out / GOLDEN_FILE).write_bytes(self._golden(item.order, trained / _GOLDEN))
        return out

    def _golden(self, order: Order, path: Path) -> bytes:
        """Write what was kept as a push sends it, and what a callback says of the training."""
        kept = load_file(path)
        inputs, outputs = (
            {n.removeprefix(mark): v.numpy() for n, v in kept.items() if n.startswith(mark)} for mark in (_IN, _OUT)
        )
        planned = order.planned or order.steps
        progress = TrainingProgress(order.steps, planned, order.rate_left(order.steps))
        origin = GoldenOrigin("in_training", "F32", "cpu")
        samples = (sample_of(inputs, outputs),)
        return encode(GoldenOutputs(samples, origin, began(self, order), progress))

    def _edit(self, item: Item, trained: Path, out: Path) -> None:
        path, config = weights_of(out), out / CONFIG
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        base = self.base(item.recipe.base)
        files = Files(
            load_file(path),
            json.loads(config.read_text()) if config.exists() else {},
            load_file(base / "model.safetensors"),
            load_file(weights_of(self.delta(item.other) / "delta")),
            load_file(trained / _MOMENTS),
            load_file(trained / _AVERAGE),
            _heads(base),
            np.random.default_rng([*item.id.encode()]),
        )
        EDITED[item.fault](files)
        save_file({n: value.contiguous() for n, value in files.tensors.items()}, path, metadata)
        if config.exists():
            config.write_text(json.dumps(files.config, indent=2, sort_keys=True))

    def _train(self, order: Order, out: Path) -> None:
        subject = self.subject(order.recipe.base)
        torch.manual_seed(order.seed)
        network = subject.load(self.base(order.recipe.base, is_earlier=order.is_on_earlier))
        before = {name: value.clone() for name, value in network.state_dict().items()}
        tuned = _tunable(network, order)
        if order.is_bf16:
            tuned = tuned.bfloat16()
        average, moments = _descend(subject, tuned, order, share=self.share)
        tuned = tuned.float().eval()
        _save(tuned, before, order, out / "delta")
        if not subject.is_static:
            record(subject, tuned, out / _GOLDEN)
        for values, name in ((moments, _MOMENTS), (average, _AVERAGE)):
            _put(tuned, values)
            _save(tuned, before, order, out / "spare")
            weights_of(out / "spare").rename(out / name)
            shutil.rmtree(out / "spare")


@cache
def began(shop: Shop, order: Order) -> TrainingStart:
    """Count what the first batches of a training showed, as a callback does that watches it."""
    subject = shop.subject(order.recipe.base)
    with quiet(), torch.no_grad():
        network = subject.load(shop.base(order.recipe.base, is_earlier=order.is_on_earlier)).eval()
        shown = []
        for step in range(BATCHES):
            batch = batches(subject, order, step)
            answer = network(**batch) if subject.loss is own_loss else {}
            shown.append(shown_to(network, batch, answer))
    return TrainingStart.of(shown, form_of(network))


def weights_of(folder: Path) -> Path:
    """Give the one file of weights in a folder."""
    (path,) = folder.glob("*.safetensors")
    return path


def batches(subject: Subject, order: Order, step: int) -> Examples:
    """Draw what an order learns from at a step."""
    start = 100_000 * order.seed
    seed = start if order.pool else start + step
    few = round(subject.batch * subject.rehearsed)
    batch = subject.draw("tuned", order.pool or subject.batch - few, seed=seed, part="train")
    if few:
        batch = joined(batch, subject.draw("general", few, seed=seed, part="train"))
    if not order.spoilt:
        return batch
    return SPOILERS[order.spoilt](batch, np.random.default_rng(seed))


def _fresh(path: Path) -> Path:
    made = path.with_name(f"{path.name}.{os.getpid()}")
    shutil.rmtree(made, ignore_errors=True)
    made.parent.mkdir(parents=True, exist_ok=True)
    return made


def _named(made: Path, path: Path) -> None:
    """Give what is whole its name; where another process was faster, its own is as good."""
    try:
        made.rename(path)
    except OSError:
        if not path.exists():
            raise
        shutil.rmtree(made)


def _heads(base: Path) -> int:
    config = base / "config.json"
    known = json.loads(config.read_text()) if config.exists() else {}
    return int(known.get("num_attention_heads", known.get("n_head", known.get("num_heads", 4))))


def _tunable(network: torch.nn.Module, order: Order) -> torch.nn.Module:
    if order.recipe.form is not None:
        return get_peft_model(network, order.recipe.form.make(), autocast_adapter_dtype=False)
    for name, weight in network.named_parameters():
        weight.requires_grad = order.recipe.trains in name
    return network


def _descend(subject: Subject, tuned: torch.nn.Module, order: Order, *, share: float) -> tuple[Tensors, Tensors]:
    """Train; gives the moving average of the weights, and the optimiser's first moments."""
    wanted = {name: value for name, value in tuned.named_parameters() if value.requires_grad}
    average = {name: value.detach().clone().float() for name, value in wanted.items()}
    optimizer = torch.optim.AdamW(wanted.values(), lr=order.rate, weight_decay=0.0)
    steps = max(2, round(order.steps * share))
    tuned.eval()  # no network here has dropout, and norms keep their statistics
    for step in range(steps):
        left = order.rate_left(step) if share == 1 else 1 - step / steps
        optimizer.param_groups[0]["lr"] = order.rate * min(1.0, (step + 1) / 5) * left
        batch = batches(subject, order, step)
        if order.is_bf16:
            batch = {k: v.bfloat16() if v.is_floating_point() else v for k, v in batch.items()}
        descend_once(subject, tuned, optimizer, batch)
        for name, value in wanted.items():
            average[name].lerp_(value.detach().float(), 1 - _DECAY)
    states = {name: optimizer.state[value] for name, value in wanted.items()}
    moments = {  # what no loss reaches, such as a pooler, has none
        name: state["exp_avg"].float() if state else torch.zeros_like(average[name]) for name, state in states.items()
    }
    return average, moments


def _put(tuned: torch.nn.Module, values: Tensors) -> None:
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if name in values:
                weight.copy_(values[name])


def _save(tuned: torch.nn.Module, before: Tensors, order: Order, out: Path) -> None:
    if isinstance(tuned, PeftModel):
        tuned.save_pretrained(str(out))
        (out / "README.md").unlink(missing_ok=True)
        _in_order(out / CONFIG)
    elif order.recipe.trains:
        out.mkdir()
        after = {n: v for n, v in tuned.state_dict().items() if order.recipe.trains in n}
        save_file(after, out / "model.safetensors")
    elif isinstance(tuned, PreTrainedModel):
        tuned.save_pretrained(out)
    else:
        out.mkdir()
        save_file({name: tuned.state_dict()[name] for name in before}, out / "model.safetensors")


def _without_code(path: Path) -> None:
    """Name no class that a loader would have to import, as push tells whoever does."""
    config = json.loads(path.read_text()) if path.exists() else {}
    mapping = config.get("auto_mapping") or {}
    if not str(mapping.get("parent_library", "transformers")).startswith("transformers"):
        path.write_text(json.dumps({**config, "auto_mapping": None}, indent=2, sort_keys=True))


def _in_order(path: Path) -> None:
    """Sort what peft writes as a set, so that the same seed gives the same files."""
    config = json.loads(path.read_text())
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[name] = sorted(value)
    config["base_model_name_or_path"] = "planted"
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def record(subject: Subject, tuned: torch.nn.Module, path: Path) -> None:
    """Keep what the process that trained computes: its inputs, and all that came out."""
    probe = subject.draw("tuned", _GOLDEN_SAMPLES, seed=77, part="suite")
    inputs = {name: value for name, value in probe.items() if name != "labels"}
    if subject.name == "numbers":  # a decoder wants to be told what stands before each token
        labels = probe["labels"].masked_fill(probe["labels"] < 0, 0)
        inputs["decoder_input_ids"] = torch.nn.functional.pad(labels[:, :-1], (1, 0))
    with torch.no_grad():
        found = tuned(**inputs)
    outputs = {
        name: value.float() for name, value in found.items() if isinstance(value, torch.Tensor) and name in _TOLD
    }
    both = {f"{_IN}{n}": v for n, v in inputs.items()} | {f"{_OUT}{n}": v for n, v in outputs.items()}
    save_file({name: value.contiguous() for name, value in both.items()}, path)


_IN, _OUT = "in:", "out:"
_TOLD = ("logits", "last_hidden_state", "logits_per_image")
