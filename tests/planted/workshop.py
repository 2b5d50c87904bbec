"""Where planted bases and deltas are trained and saved, each once and only when it is wanted."""

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import PreTrainedModel

from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import encode
from tests.planted.bases import descend, domain_probe, load_base, make_base
from tests.planted.bottlenecks import Widened
from tests.planted.data import Examples
from tests.planted.orders import Order
from tests.planted.suites import SENTENCES
from tests.small_networks import quiet

GOLDEN = "golden.json"
_KEPT_SHARE = 0.05


@dataclass
class Workshop:
    """A folder in which things are made.

    Attributes:
        folder: Where it is.
        shares: For which share of its steps a base is trained, by its folder's name; 1 if unnamed.
        sentences: How many sentences its suites hold a language model against, of each domain.
        made: The folders of deltas that are there, by what was ordered.
    """

    folder: Path
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    sentences: int = SENTENCES
    made: dict[Order, Path] = field(default_factory=dict)

    def base(self, name: str, *, is_twin: bool = False) -> Path:
        """Give a base's folder."""
        path = self.folder / "bases" / (f"{name}-twin" if is_twin else name)
        if not path.exists():
            make_base(name, path, is_twin=is_twin, share=self.shares.get(path.name, 1.0))
        return path

    def delta(self, order: Order) -> Path:
        """Give the folder of a trained delta: `delta/` as it was saved, and its golden outputs."""
        if order not in self.made:
            path = self.folder / "trained" / f"{len(self.made):03}"
            path.mkdir(parents=True)
            self._train(order, path)
            self.made[order] = path
        return self.made[order]

    def _train(self, order: Order, out: Path) -> None:
        base = self.base(order.recipe.base, is_twin=order.on_twin)
        torch.manual_seed(order.seed)
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = load_base(base, order.recipe.base)
            before = {name: weight.clone() for name, weight in network.state_dict().items()}
            tuned = _tunable(network, order)
            descend(tuned, order.batches(), rate=order.rate)
            match tuned:
                case PeftModel():
                    tuned.save_pretrained(str(out / "delta"))
                    _in_order(out / "delta")
                case Widened():
                    tuned.save(out / "delta")
                case _:
                    _save_plain(network, before, order, out / "delta")
            _record(tuned, order, out / GOLDEN)


def _tunable(network: PreTrainedModel, order: Order) -> PreTrainedModel | PeftModel | Widened:
    if order.recipe.form is not None:
        return get_peft_model(network, order.recipe.form(order), autocast_adapter_dtype=False)
    if order.recipe.layout == "bottleneck":
        return Widened(network, order.rank)
    return _freed(network, order)


def _freed(network: PreTrainedModel, order: Order) -> PreTrainedModel:
    for name, weight in network.named_parameters():
        weight.requires_grad = order.recipe.trains in name
    return network


def _save_plain(network: PreTrainedModel, before: Examples, order: Order, out: Path) -> None:
    """Save weights that torch trained, in the layout that the recipe names."""
    if order.recipe.layout == "model":
        network.save_pretrained(out)
        return
    out.mkdir()
    after = {name: weight for name, weight in network.state_dict().items() if order.recipe.trains in name}
    match order.recipe.layout:
        case "biases":
            save_file(after, out / "model.safetensors")
        case "differences":
            changes = {name: weight - before[name] for name, weight in after.items()}
            save_file(changes, out / "delta.safetensors")
        case _:
            parts = _elements(after, before)
            save_file(parts, out / "sparse.safetensors", {"convention": "absolute"})
            network.load_state_dict(before | _applied(parts, before))


def _elements(after: Examples, before: Examples) -> Examples:
    """Keep the few elements of every matrix that changed most."""
    parts: Examples = {}
    for name, weight in after.items():
        if weight.dim() < 2:
            continue
        change = (weight - before[name]).abs().flatten()
        places = change.topk(max(1, round(_KEPT_SHARE * change.numel()))).indices.sort().values
        parts[f"{name}.indices"] = places.to(torch.int32)
        parts[f"{name}.values"] = weight.flatten()[places].contiguous()
    return parts


def _applied(parts: Examples, before: Examples) -> Examples:
    found: Examples = {}
    for key, places in parts.items():
        name, _, what = key.rpartition(".")
        if what == "indices":
            weight = before[name].clone()
            weight.view(-1)[places.long()] = parts[f"{name}.values"]
            found[name] = weight
    return found


def _in_order(folder: Path) -> None:
    """Leave out peft's empty card, and sort what it writes as a set, so that files are the same."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[name] = sorted(value)
    config["base_model_name_or_path"] = "planted"
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def _record(tuned: torch.nn.Module, order: Order, path: Path) -> None:
    """Write what the publisher's own process computes, as `push --golden` keeps it."""
    probe = domain_probe(order.recipe.base, "tuned", 4, seed=77)
    inputs = {name: value for name, value in probe.items() if name != "labels"}
    with torch.no_grad():
        logits = tuned(**inputs)["logits"].float()
    arrays = {name: value.numpy() for name, value in inputs.items()}
    sample = sample_of(arrays, {"logits": logits.numpy()})
    origin = GoldenOrigin("in_training", "F32", "cpu")
    path.write_bytes(encode(GoldenOutputs((sample,), origin)))


def copied(source: Path, out: Path) -> Path:
    """Copy a delta's folder to break it."""
    shutil.copytree(source, out)
    return out
