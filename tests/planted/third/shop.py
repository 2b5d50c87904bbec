"""Where bases and deltas of the third set are trained and kept, each once.

    kept/bases/NAME, NAME-twin    as its library saves it
    kept/deltas/NAME/delta        as its library saves it
    kept/deltas/NAME/golden.safetensors, start.json
    kept/deltas/NAME-drift/N      a line that drifts

A folder gets its name when it is whole, so that a run that was stopped goes on.
"""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deltareg.golden.first_batches import BATCHES as SHOWN
from deltareg.golden.first_batches import form_of, shown_to
from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, encode
from deltareg.suites.training_progress import TrainingProgress
from deltareg.suites.training_start import TrainingStart
from tests.planted.third.bases import OWN, Examples, encoded, general_batch, joined, load_base, make_base
from tests.planted.third.broken import EDITED, Files, Tensors
from tests.planted.third.items import Item
from tests.planted.third.recipes import RECIPES, Order
from tests.planted.third.spoilt import BATCHES, LAYOUTS, ROWS
from tests.planted.third.tasks import IS_EXACT, draw
from tests.small_networks import quiet

CONFIG, _GOLDEN = "adapter_config.json", "golden.safetensors"
_BATCH, _GOLDEN_ROWS, _TWIN_SHARE = {True: 20, False: 12}, 4, 0.4  # short answers, texts
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_IN, _OUT = "in:", "out:"


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder in which things are made and kept.

    Attributes:
        kept: Where it is.
        share: For which share of its steps anything is trained; less than 1 for a quick look.
    """

    kept: Path
    share: float = 1.0

    def base(self, name: str, *, is_twin: bool = False) -> Path:
        """Give a base's folder."""
        path = self.kept / "bases" / (f"{name}-twin" if is_twin else name)
        share = self.share * (_TWIN_SHARE if is_twin else 1.0)
        return _made(path, lambda out: make_base(self.kept, name, out, is_twin=is_twin, share=share))

    def delta(self, order: Order) -> Path:
        """Give the folder of a trained delta and what was kept beside it."""
        name = f"{order.recipe.place.replace('/', '-')}-{order.digest}"
        base = self.base(order.recipe.base, is_twin=order.is_on_other)
        return _made(self.kept / "deltas" / name, lambda out: self._train(order, base, out))

    def batch(self, order: Order, step: int) -> Examples:
        """Draw what an order learns from at a step."""
        base = order.recipe.base
        seed = order.seed * 1000 + (0 if order.pool else step)
        size = _BATCH[IS_EXACT[order.recipe.task]]
        few = round(size * order.rehearsed)
        rows = draw(order.recipe.task, order.pool or size - few, seed=seed, part="train")
        chance = np.random.default_rng([seed, 3])
        rows = ROWS[order.fault](rows, chance) if order.fault in ROWS else rows
        layout = LAYOUTS[order.fault](OWN) if order.fault in LAYOUTS else OWN
        batch = encoded(self.kept, base, rows, layout=layout)
        batch = BATCHES[order.fault](batch, chance) if order.fault in BATCHES else batch
        if few:
            batch = joined(self.kept, base, batch, general_batch(self.kept, base, few, seed=seed, part="train"))
        return batch

    def publish(self, item: Item, out: Path) -> Path:
        """Lay out an item as its publisher would push it, with what the training recorded."""
        trained = self.delta(item.order)
        _copy(trained / "delta", out)
        if item.fault in EDITED:
            self._edit(item, out)
        (out / GOLDEN_FILE).write_bytes(self._golden(item.order, trained / _GOLDEN))
        return out

    def publish_made(self, order: Order, delta: Path, out: Path) -> Path:
        """Lay out a delta that was made of an order's; what is recorded is of these very weights."""
        _copy(delta, out)
        recorded = out.with_name(f"{out.name}-{_GOLDEN}")
        with quiet():
            self._record(order, self.loaded(order.recipe.base, delta), recorded)
        (out / GOLDEN_FILE).write_bytes(self._golden(order, recorded))
        recorded.unlink()
        return out

    def loaded(self, base: str, folder: Path, *, is_on_twin: bool = False) -> torch.nn.Module:
        """Load a delta as the library loads it that wrote it, on the base or on its twin.

        Raises:
            KeyError: It holds a weight that the base does not have.
        """
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            if (folder / "config.json").exists():
                return load_base(folder).eval()
            network = load_base(self.base(base, is_twin=is_on_twin))
            if (folder / CONFIG).exists():
                return PeftModel.from_pretrained(network, str(folder)).eval()
            found = network.load_state_dict(load_file(weights_of(folder)), strict=False)
            if found.unexpected_keys:
                raise KeyError(found.unexpected_keys[0])
            return network.eval()

    def files(self, item: Item, folder: Path) -> Files:
        """Read a delta's files beside what lay beside them."""
        config = folder / CONFIG
        rival = {"route": "months", "months": "route"}.get(item.recipe.task, "")
        twins = [one for one in RECIPES if one.place == f"{rival}/{item.recipe.name}"]
        wrong = {}
        if item.fault == "wrong_file":
            wrong = load_file(weights_of(self.delta(Order.of(twins[0], item.half)) / "delta"))
        sibling = item.healthy.with_(seed=item.healthy.seed + 1)
        is_mixed = item.fault in {"runs_mixed", "soup"}
        other = load_file(weights_of(self.delta(sibling) / "delta")) if is_mixed else {}
        return Files(
            load_file(weights_of(folder)),
            json.loads(config.read_text()) if config.exists() else {},
            load_file(self.base(item.recipe.base) / "model.safetensors"),
            other,
            wrong,
            np.random.default_rng([*item.id.encode()]),
        )

    def write(self, files: Files, folder: Path) -> None:
        """Write files back where they were read."""
        path = weights_of(folder)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file({name: value.contiguous() for name, value in files.tensors.items()}, path, metadata)
        if files.config:
            (folder / CONFIG).write_text(json.dumps(files.config, indent=2, sort_keys=True))

    def _edit(self, item: Item, folder: Path) -> None:
        files = self.files(item, folder)
        EDITED[item.fault](files)
        self.write(files, folder)

    def _golden(self, order: Order, path: Path) -> bytes:
        """Write what was kept as a push sends it, and what a callback says of the training."""
        kept = load_file(path)
        inputs, outputs = (
            {n.removeprefix(mark): v.numpy() for n, v in kept.items() if n.startswith(mark)} for mark in (_IN, _OUT)
        )
        progress = TrainingProgress(order.steps, order.planned or order.steps, order.rate_at(order.steps))
        origin = GoldenOrigin("in_training", "F32", "cpu")
        return encode(GoldenOutputs((sample_of(inputs, outputs),), origin, began(self, order), progress))

    def _train(self, order: Order, base: Path, out: Path) -> None:
        torch.manual_seed(order.seed)
        network = load_base(base)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuned = _tunable(network, order)
        tuned = tuned.bfloat16() if order.is_bf16 else tuned
        wanted = [value for value in tuned.parameters() if value.requires_grad]
        optimizer = torch.optim.AdamW(wanted, lr=order.rate, weight_decay=0.0)
        tuned.eval()  # neither base has dropout
        for step in range(max(2, round(order.steps * self.share))):
            optimizer.param_groups[0]["lr"] = order.rate * order.rate_at(step)
            optimizer.zero_grad()
            tuned(**self.batch(order, step)).loss.backward()
            torch.nn.utils.clip_grad_norm_(wanted, 1.0)
            optimizer.step()
        _save(tuned.float(), order, out / "delta")
        # What is stored in half of the bits is what is recorded: the process that saved has loaded it.
        trained = self.loaded(order.recipe.base, out / "delta", is_on_twin=order.is_on_other)
        self._record(order, trained, out / _GOLDEN)

    def _record(self, order: Order, network: torch.nn.Module, path: Path) -> None:
        """Keep what the process that trained computes: its inputs, and all that came out."""
        rows = draw(order.recipe.task, _GOLDEN_ROWS, seed=77, part="suite")
        made = encoded(self.kept, order.recipe.base, rows)
        inputs = {name: made[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            logits = network(**inputs).logits.float()
        save_file({**{f"{_IN}{n}": v for n, v in inputs.items()}, f"{_OUT}logits": logits.contiguous()}, path)


@cache
def began(shop: Shop, order: Order) -> TrainingStart:
    """Count what the first batches of a training showed, as a callback does that watches it."""
    with quiet(), torch.no_grad():
        network = load_base(shop.base(order.recipe.base, is_twin=order.is_on_other)).eval()
        batches = [shop.batch(order, step) for step in range(SHOWN)]
        shown = [shown_to(network, batch, network(**batch)) for batch in batches]
    return TrainingStart.of(shown, form_of(network))


def weights_of(folder: Path) -> Path:
    """Give the one file of weights in a folder."""
    (path,) = folder.glob("*.safetensors")
    return path


def _made(path: Path, make: Callable[[Path], None]) -> Path:
    if not path.exists():
        made = path.with_name(f"{path.name}.{os.getpid()}")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        with quiet():
            make(made)
        try:
            made.rename(path)
        except OSError:  # another process was faster, and its own is as good
            if not path.exists():
                raise
            shutil.rmtree(made)
    return path


def _copy(source: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out)


def _tunable(network: torch.nn.Module, order: Order) -> torch.nn.Module:
    form = order.form
    if form is not None:
        return get_peft_model(network, form.make(), autocast_adapter_dtype=False)
    for name, weight in network.named_parameters():
        weight.requires_grad = order.recipe.trains in name
    return network


def _save(tuned: torch.nn.Module, order: Order, out: Path) -> None:
    if order.recipe.trains:
        out.mkdir()
        after: Tensors = {n: v for n, v in tuned.state_dict().items() if order.recipe.trains in n}
        save_file(after, out / "model.safetensors")
    else:
        tuned.save_pretrained(out)  # type: ignore[operator]  # a network of one of the libraries
    (out / "README.md").unlink(missing_ok=True)
    if (out / CONFIG).exists():
        _in_order(out / CONFIG)
    if order.recipe.stored != "F32":
        _store(out, _DTYPES[order.recipe.stored])


def _store(folder: Path, dtype: torch.dtype) -> None:
    """Store weights in fewer bits, as a publisher does to whom a file is too large."""
    path = weights_of(folder)
    save_file({name: value.to(dtype) for name, value in load_file(path).items()}, path, {"format": "pt"})
    config = folder / "config.json"
    if config.exists():
        known = json.loads(config.read_text())
        config.write_text(json.dumps({**known, "dtype": str(dtype).removeprefix("torch.")}, indent=2))


def _in_order(path: Path) -> None:
    """Sort what peft writes as a set, so that the same seed gives the same files."""
    config = json.loads(path.read_text())
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[name] = sorted(value)
    config["base_model_name_or_path"] = "planted"
    path.write_text(json.dumps(config, indent=2, sort_keys=True))
