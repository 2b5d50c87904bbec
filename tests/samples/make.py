"""Makes the samples: bases really trained, deltas really fine-tuned, broken ones derived.

Run as `python -m tests.samples.make`; it takes a minute or two on one core and replaces `bases/`,
`deltas/`, `bad/`, `expected/`, `probes.safetensors` and `manifest.json` beside this file. Seeded:
the same machine, Python and libraries make the same tensors; others make equally good ones.

What holds, and what `test_samples.py` checks:

- Every file is listed in `manifest.json` with its size and sha256, and no file is unlisted.
- All of it is below 4,500,000 bytes.
- `tinyllama` and `tinyllama_sharded` hold the same tensors; `tinyllama_bf16` holds them rounded;
  `tinyllama_other` has the same shapes and nothing else in common.
- Every healthy delta has a lower loss in its domain than its base has.
- `expected/` holds what the library computed: logits at the last two probe positions with the delta
  attached, and merged weights. Merged plain LoRA weights agree with float64 arithmetic.
- Every broken delta is what `broken.py` makes of a healthy one, byte for byte. No pickle in it was
  ever executed, and none does harm: it would leave an empty file `PICKLE_CANARY`.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.utils import logging

from tests.samples import broken, training
from tests.samples.training import Recipe, Texts, lora

HERE = Path(__file__).parent
MADE = ("bases", "deltas", "bad", "expected")
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
EVERYWHERE = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
QV = ["q_proj", "v_proj"]
BF16 = torch.bfloat16
_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors")

RECIPES: Mapping[str, Recipe] = {
    "tinyllama/lora": Recipe("tinyllama", lora(EVERYWHERE, 4)),
    "tinyllama/lora_qv": Recipe("tinyllama", lora(QV, 2)),
    "tinyllama/lora_dora": Recipe("tinyllama", lora(EVERYWHERE, 2, use_dora=True)),
    "tinyllama/lora_rslora": Recipe("tinyllama", lora([*QV, "gate_proj"], 8, lora_alpha=8, use_rslora=True)),
    "tinyllama/lora_patterns": Recipe(
        "tinyllama",
        lora(
            ATTENTION,
            4,
            rank_pattern={"q_proj": 8, "layers.1.self_attn.v_proj": 2},
            alpha_pattern={"q_proj": 4, "layers.0.self_attn.o_proj": 16},
        ),
    ),
    "tinyllama/lora_modules_to_save": Recipe("tinyllama", lora(QV, 4, modules_to_save=["lm_head", "model.norm"])),
    "tinyllama/lora_embeddings": Recipe("tinyllama", lora(["embed_tokens", "q_proj"], 4)),
    "tinyllama/lora_bf16": Recipe("tinyllama", lora(QV, 4), factors=BF16),
    "tinyllama_bf16/lora": Recipe("tinyllama_bf16", lora(QV, 4), dtype=BF16, factors=BF16),
    "tinygpt2/lora": Recipe("tinygpt2", lora(["c_attn", "c_proj", "c_fc"], 4, fan_in_fan_out=True)),
}
OTHER_BASE: Mapping[str, Recipe] = {
    "other_base": Recipe("tinyllama_other", lora(QV, 2)),
    "other_base_embeddings": Recipe("tinyllama_other", lora(["embed_tokens", "q_proj"], 2)),
}
NOTES: Mapping[str, str] = {
    "tinyllama/lora_v2": "tinyllama/lora trained further",
    "tinyllama/lora_checkpoint": "a whole checkpoint of the Trainer: its state stays out of a push",
    "tinyllama/lora_embeddings": "the file holds a copy of the base's embedding, which must agree",
    "tinyllama/lora_bf16": "bfloat16 factors over a float32 base",
    "tinyllama/full": "in shards, with an index",
    "tinyllama/full_v2": "tinyllama/full trained further, in one file",
    "tinygpt2/lora": "Conv1D: weights are stored (in, out)",
    "tinygpt2/bitfit": "absolute values, under the file name of whole weights",
    "tinygpt2/bitfit_delta": "differences from the base",
}


def main() -> None:
    """Make everything in a scratch folder, then put it in place."""
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # so that configs name the base by a short relative path
        manifest = make(Path())
        for name in MADE:
            shutil.rmtree(HERE / name, ignore_errors=True)
            shutil.copytree(name, HERE / name)
        shutil.copy("probes.safetensors", HERE)
        (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        os.chdir(HERE)


def make(root: Path) -> dict[str, object]:
    """Make all files below the working folder and give their manifest."""
    texts = training.read_texts()
    save_probes(root / "probes.safetensors", texts)
    training.make_bases(root / "bases", texts)
    bases = {path.name: describe_base(path, texts) for path in sorted((root / "bases").iterdir())}
    deltas = make_deltas(texts)
    for name, recipe in OTHER_BASE.items():
        training.tune_lora(recipe, root / "bad" / name, texts)
    broken.break_all(root / "deltas", root / "bad")
    return {
        "format": 1,
        "made_with": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "probes": file_record(root / "probes.safetensors"),
        "bases": bases,
        "deltas": deltas,
        "bad": [describe_bad(root / "bad" / name, fault) for name, fault in broken.FAULTS.items()],
    }


def make_deltas(texts: Texts) -> list[dict[str, object]]:
    """Train every healthy delta and describe it."""
    entries = []
    for name, recipe in RECIPES.items():
        net = training.tune_lora(recipe, Path("deltas") / name, texts)
        entries.append(describe_delta(name, net, texts, library="peft"))
    llama, first = Path("bases/tinyllama"), Path("deltas/tinyllama/lora")
    net = training.continue_lora(llama, first, Path("deltas/tinyllama/lora_v2"), texts)
    entries.append(describe_delta("tinyllama/lora_v2", net, texts, library="peft"))
    net = training.tune_with_trainer(llama, Path("deltas/tinyllama/lora_checkpoint"), texts)
    entries.append(describe_delta("tinyllama/lora_checkpoint", net, texts, library="peft"))
    return entries + make_full(llama, texts) + make_bitfit(Path("bases/tinygpt2"), texts)


def make_full(base: Path, texts: Texts) -> list[dict[str, object]]:
    """Fine-tune all weights, and go on from there for a second version."""
    one, two = Path("deltas/tinyllama/full"), Path("deltas/tinyllama/full_v2")
    first = training.tune_full(base, one, texts, steps=120, shard="90KB")
    second = training.tune_full(one, two, texts, steps=60, shard="10MB")
    return [
        describe_delta("tinyllama/full", first, texts, library="transformers"),
        describe_delta("tinyllama/full_v2", second, texts, library="transformers"),
    ]


def make_bitfit(base: Path, texts: Texts) -> list[dict[str, object]]:
    """Fine-tune the biases alone and save them in both conventions."""
    net = training.tune_biases(base, texts, steps=150)
    training.save_biases(net, Path("deltas/tinygpt2/bitfit"), base=None)
    training.save_biases(net, Path("deltas/tinygpt2/bitfit_delta"), base=training.load(base))
    names = ("tinygpt2/bitfit", "tinygpt2/bitfit_delta")
    return [describe_delta(name, net, texts, library="raw") for name in names]


def save_probes(path: Path, texts: Texts) -> None:
    """Save the token ids that logits and losses are measured on."""
    probes = {"input_ids": texts.code_eval[:4, :16], "general_ids": texts.general_eval, "code_ids": texts.code_eval}
    save_file({name: ids.contiguous() for name, ids in probes.items()}, path)


def describe_base(folder: Path, texts: Texts) -> dict[str, object]:
    """Describe a base and save its logits on the probes."""
    net = training.load(folder)
    expected = Path("expected") / folder.name / "base.safetensors"
    expected.parent.mkdir(parents=True)
    save_file({"logits_base": last_logits(net, texts)}, expected)
    return {
        "path": str(folder),
        "architecture": type(net).__name__,
        "loss_general": training.loss_on(net, texts.general_eval),
        "loss_code": training.loss_on(net, texts.code_eval),
        "expected": str(expected),
        "expected_file": file_record(expected),
        "files": file_records(folder),
    }


def describe_delta(name: str, net: PeftModel | PreTrainedModel, texts: Texts, *, library: str) -> dict[str, object]:
    """Describe a healthy delta, and save the library's logits and merged weights."""
    base_name, kind = name.split("/")[0], name.split("/")[1].split("_")[0]
    logits, loss = last_logits(net, texts), training.loss_on(net, texts.code_eval)
    after = (net.merge_and_unload() if isinstance(net, PeftModel) else net).state_dict()
    before = training.load(Path("bases") / base_name, dtype=net.dtype).state_dict()
    changed = sorted(n for n, t in after.items() if not torch.equal(t, before[n]))
    kept = {"lora": [changed[0], changed[-1]], "full": [], "bitfit": changed}[kind]
    expected = Path("expected") / f"{name}.safetensors"
    merged = {f"merged::{n}": after[n].contiguous() for n in kept}
    save_file({"logits_attached": logits, **merged}, expected)
    return {
        "id": name,
        "base": base_name,
        "path": f"deltas/{name}",
        "kind": kind,
        "library": library,
        "foldable": True,
        "expect": "accept",
        "stage": "verify",
        "note": NOTES.get(name, ""),
        "loss_code": loss,
        "changed": changed,
        "tolerance": tolerance(name),
        "expected": str(expected),
        "expected_file": file_record(expected),
        "files": file_records(Path("deltas") / name),
    }


def tolerance(name: str) -> dict[str, float]:
    """Say how far results may be from the library's, by the types that it computes in."""
    if name == "tinyllama_bf16/lora":
        return {"weights": 0.01, "logits": 0.2}
    if name == "tinyllama/lora_bf16":  # peft rounds the product to bfloat16 before it adds it
        return {"weights": 0.002, "logits": 0.05}
    return {"weights": 1e-6, "logits": 1e-4}


def describe_bad(folder: Path, fault: broken.Fault) -> dict[str, object]:
    """Describe a broken delta."""
    return {
        "id": f"bad/{folder.name}",
        "base": fault.base,
        "path": f"bad/{folder.name}",
        "kind": fault.kind,
        "library": "broken.py",
        "foldable": False,
        "expect": fault.code,
        "stage": fault.stage,
        "note": fault.note,
        "files": file_records(folder),
    }


def last_logits(net: PeftModel | PreTrainedModel, texts: Texts) -> torch.Tensor:
    """Give the logits of the last two positions of every probe, in float32."""
    with torch.inference_mode():
        return net(input_ids=texts.code_eval[:4, :16]).logits[:, -2:].float().clone()


def file_records(folder: Path) -> dict[str, dict[str, object]]:
    """Record every file of a folder by its name there."""
    return {path.name: file_record(path) for path in sorted(folder.iterdir())}


def file_record(path: Path) -> dict[str, object]:
    """Record a file's size and sha256."""
    raw = path.read_bytes()
    return {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


if __name__ == "__main__":
    main()
