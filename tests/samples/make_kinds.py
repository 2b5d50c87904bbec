"""Makes one small sample of every peft type that is read: trained, saved, merged by the library.

Run as `python -m tests.samples.make_kinds` after `make`; it takes a few minutes on one core and
replaces `kinds/` beside this file; names after it make those only. What it trains on are the bases
that are there, so nothing else changes. `kinds/manifest.json` lists each sample with its base,
whether the library can merge it, and the names of the weights that merging changed;
`kinds/<id>/expected.safetensors` holds the library's logits at the last two probe positions, and
the first and last merged weight.
"""

import json
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.utils import logging

from tests.samples import training
from tests.samples.training import Texts

HERE = Path(__file__).parent
KINDS = HERE / "kinds"
QV = ["q_proj", "v_proj"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a sample is made.

    Attributes:
        form: The configuration's class in peft.
        flags: What it is told.
        merges: Whether the library can fold it.
        base: The base's folder name.
        rate: The learning rate; samples are to be healthy, not good.
        targets: Modules; None where the form has none.
    """

    form: str
    flags: dict[str, Any] = field(default_factory=dict)
    merges: bool = True
    base: str = "tinyllama"
    rate: float = 5e-3
    targets: list[str] | None = field(default_factory=lambda: list(QV))


_PROMPT = {"num_virtual_tokens": 4}
RECIPES: dict[str, Recipe] = {
    "adalora": Recipe("AdaLoraConfig", {"init_r": 4, "target_r": 2, "total_step": 100}),
    "adamss": Recipe("AdamssConfig", {"r": 4, "num_subspaces": 2, "subspace_rank": 2}),
    "adaption_prompt": Recipe(
        "AdaptionPromptConfig", {"adapter_len": 4, "adapter_layers": 2}, merges=False, targets=None, rate=3e-2
    ),
    "alora": Recipe(  # its phrase is in every other probe: "(self"
        "LoraConfig", {"r": 2, "lora_alpha": 4, "alora_invocation_tokens": [8, 291]}, merges=False
    ),
    "beft": Recipe("BeftConfig", merges=False, targets=["v_proj"]),
    "boft": Recipe("BOFTConfig", {"boft_block_size": 4, "boft_n_butterfly_factor": 1}),
    "c3a": Recipe("C3AConfig", {"block_size": 20}, targets=["q_proj"], rate=2e-2),
    "cartridge": Recipe("CartridgeConfig", _PROMPT, merges=False, targets=None, rate=3e-2),
    "cpt": Recipe(
        "CPTConfig",
        {"cpt_token_ids": [5, 9, 33, 70], "cpt_mask": [1, 1, 1, 1], "cpt_tokens_type_mask": [1, 2, 3, 4]},
        merges=False,
        targets=None,
        rate=3e-2,
    ),
    "deft": Recipe("DeftConfig", {"r": 2}),
    "delora": Recipe("DeloraConfig", {"r": 2, "delora_lambda": 1}),
    "fourierft": Recipe("FourierFTConfig", {"n_frequency": 60, "scaling": 10.0, "init_weights": True}),
    "frod": Recipe("FrodConfig", {"progressbar": False}),
    "glora": Recipe("GloraConfig", {"r": 2}),
    "gralora": Recipe("GraloraConfig", {"r": 4, "gralora_k": 2}, targets=["q_proj"]),
    "hira": Recipe("HiraConfig", {"r": 2}),
    "hra": Recipe("HRAConfig", {"r": 2}),
    "ia3": Recipe(
        "IA3Config", {"feedforward_modules": ["down_proj"]}, targets=["k_proj", "v_proj", "down_proj"], rate=2e-2
    ),
    "ia3_bias": Recipe(
        "IA3Config",
        {"feedforward_modules": ["mlp.c_proj"]},
        base="tinygpt2",
        targets=["c_attn", "mlp.c_proj"],
        rate=2e-2,
    ),
    "lily": Recipe("LilyConfig", {"r": 2, "stride_A": 1, "num_B": 2}, merges=False, targets=["q_proj"]),
    "ln_tuning": Recipe("LNTuningConfig", targets=["input_layernorm", "norm"]),
    "loha": Recipe("LoHaConfig", {"r": 2, "alpha": 4}),
    "lokr": Recipe("LoKrConfig", {"r": 2, "alpha": 4, "decompose_factor": 5}),
    "miss": Recipe("MissConfig", {"r": 2}),
    "oft": Recipe("OFTConfig", {"oft_block_size": 4, "r": 0}),
    "osf": Recipe("OSFConfig", {"effective_rank": 36}, targets=["q_proj"], rate=1e-3),
    "peanut": Recipe("PeanutConfig", {"r": 2}),
    "prefix": Recipe("PrefixTuningConfig", _PROMPT, merges=False, targets=None, rate=3e-2),
    "prompt": Recipe("PromptTuningConfig", _PROMPT, merges=False, targets=None, rate=3e-2),
    "psoft": Recipe("PsoftConfig", {"r": 4}),
    "ptuning": Recipe(
        "PromptEncoderConfig", {**_PROMPT, "encoder_hidden_size": 8}, merges=False, targets=None, rate=3e-2
    ),
    "pvera": Recipe("PveraConfig", {"r": 4, "save_projection": True}),
    "randlora": Recipe("RandLoraConfig", {"r": 8, "save_projection": True}),
    "road": Recipe("RoadConfig", {"variant": "road_1", "group_size": 4}),
    "shira": Recipe("ShiraConfig", {"r": 1}),
    "tinylora": Recipe("TinyLoraConfig", {"r": 2}),
    "tokens": Recipe("TrainableTokensConfig", {"token_indices": [7, 40, 99]}, targets=["embed_tokens"]),
    "unilora": Recipe("UniLoraConfig", {"r": 2}),
    "vblora": Recipe("VBLoRAConfig", {"r": 2, "num_vectors": 6, "vector_length": 20, "topk": 2}, targets=["q_proj"]),
    "vera": Recipe("VeraConfig", {"r": 8, "save_projection": True}),
    "waveft": Recipe("WaveFTConfig", {"n_frequency": 60, "scaling": 10.0}, targets=["q_proj"]),
}


def main() -> None:
    """Make all samples, or those that are named, in a scratch folder, then put them in place."""
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or list(RECIPES)
    texts = training.read_texts()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # so that configs name the base by a short relative path
        shutil.copytree(HERE / "bases", "bases")
        for name in wanted:
            make(name, RECIPES[name], texts)
            shutil.rmtree(KINDS / name, ignore_errors=True)
            shutil.copytree(name, KINDS / name)
        os.chdir(HERE)
    described = [json.loads(path.read_text()) for path in sorted(KINDS.glob("*/sample.json"))]
    (KINDS / "manifest.json").write_text(json.dumps(described, indent=1) + "\n")


def make(name: str, recipe: Recipe, texts: Texts) -> None:
    """Train one sample, save it, and write down what the library makes of it."""
    torch.manual_seed(31)
    base = training.load(Path("bases") / recipe.base)
    flags = dict(recipe.flags)
    if recipe.targets is not None:
        flags["target_modules"] = recipe.targets
    before_loss = training.loss_on(base, texts.code_eval)
    before = {n: t.clone() for n, t in base.state_dict().items()}
    form = getattr(peft, recipe.form)(task_type="CAUSAL_LM", **flags)
    net = get_peft_model(base, form)
    training.descend(net, texts.code, steps=150, rate=recipe.rate)
    out = Path(name)
    training.save_adapter(net, out / "delta")
    net = PeftModel.from_pretrained(training.load(Path("bases") / recipe.base), out / "delta")
    net.eval()
    logits, loss = last_logits(net, texts), training.loss_on(net, texts.code_eval)
    merged: dict[str, torch.Tensor] = {}
    if recipe.merges:
        after = net.merge_and_unload().state_dict()
        merged = {n: t for n, t in after.items() if not torch.equal(t, before[n])}
    kept = {f"merged::{n}": merged[n].contiguous() for n in {*list(merged)[:1], *list(merged)[-1:]}}
    save_file({"logits_attached": logits, **kept}, out / "expected.safetensors")
    (out / "sample.json").write_text(
        json.dumps(
            {
                "id": name,
                "base": recipe.base,
                "peft_type": form.peft_type.value,
                "merges": recipe.merges,
                "changed": sorted(merged),
                "loss_before": before_loss,
                "loss_after": loss,
            },
            indent=1,
        )
        + "\n"
    )
    print(f"{name:12} loss {before_loss} -> {loss}")


def last_logits(net: PreTrainedModel | PeftModel, texts: Texts) -> torch.Tensor:
    """Give the logits of the last two positions of every probe, in float32."""
    with torch.inference_mode():
        return net(input_ids=texts.code_eval[:4, :16]).logits[:, -2:].float().clone()


if __name__ == "__main__":
    main()
