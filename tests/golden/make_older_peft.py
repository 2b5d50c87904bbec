"""Write what earlier releases of peft make of one tiny base: deltas as they save them, and their outputs.

Formulas have changed since. Run it once with each release, in an environment of its own:

    pip install torch "numpy<2" peft==0.10.0 transformers==4.39.3 "accelerate<1"
    pip install torch "numpy<2" peft==0.14.0 transformers==4.47.1
    pip install torch "numpy<2" peft==0.17.1 transformers==4.56.2
    python tests/golden/make_older_peft.py tests/golden/older-peft

The base is made first, by any of them, and loaded by the others.
"""

import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before the libraries look

import peft
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

WANTED: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "0.10": {
        "lokr": ("LoKrConfig", {"r": 4, "alpha": 8}),
        "lokr-factors": ("LoKrConfig", {"r": 1, "alpha": 3, "decompose_both": True, "decompose_factor": 4}),
        "lokr-ranks": (
            "LoKrConfig",
            {"r": 2, "alpha": 2, "rank_pattern": {"v_proj": 1}, "alpha_pattern": {"q_proj": 5}},
        ),
        "lokr-even": ("LoKrConfig", {"r": 4, "alpha": 4}),
        "loha": ("LoHaConfig", {"r": 2, "alpha": 5}),
        "oft": ("OFTConfig", {"r": 4}),
        "oft-uneven": ("OFTConfig", {"r": 3}),
        "oft-small": ("OFTConfig", {"r": 2, "coft": True, "eps": 2e-3}),
        "oft-shared": ("OFTConfig", {"r": 4, "block_share": True, "rank_pattern": {"v_proj": 2}}),
    },
    "0.14": {
        "lokr": ("LoKrConfig", {"r": 4, "alpha": 8}),
        "oft": ("OFTConfig", {"r": 4}),
        "oft-size": ("OFTConfig", {"r": 0, "oft_block_size": 6}),
        "oft-small": ("OFTConfig", {"r": 2, "coft": True, "eps": 2e-3}),
        "oft-shared": ("OFTConfig", {"r": 0, "oft_block_size": 4, "block_share": True}),
        "bone": ("BoneConfig", {"r": 4}),
        "bone-bat": ("BoneConfig", {"r": 4, "init_weights": "bat"}),
    },
    "0.17": {
        "lokr": ("LoKrConfig", {"r": 4, "alpha": 8}),
        "oft": ("OFTConfig", {"oft_block_size": 4, "use_cayley_neumann": False}),
        "oft-series": ("OFTConfig", {"oft_block_size": 4, "use_cayley_neumann": True}),
        "oft-series-3": (
            "OFTConfig",
            {"oft_block_size": 8, "use_cayley_neumann": True, "num_cayley_neumann_terms": 3, "coft": True, "eps": 0.3},
        ),
    },
}
"""Release -> name -> the class of its config, and the settings."""

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4}
TARGETS = ["q_proj", "v_proj", "down_proj"]


def main(out: Path) -> None:
    """Write all deltas of the installed release."""
    warnings.simplefilter("ignore")
    release = ".".join(peft.__version__.split(".")[:2])
    os.chdir(out)  # configs name their base, and no folder of this machine
    base = Path("base")
    if not base.exists():
        torch.manual_seed(1)
        made = LlamaForCausalLM(LlamaConfig(vocab_size=32, num_key_value_heads=2, max_position_embeddings=32, **SIZES))
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        made.save_pretrained(base)
    inputs = torch.tensor([[5, 9, 2, 30, 11, 7, 1, 19]])
    for at, (name, (config, settings)) in enumerate(WANTED[release].items()):
        folder = Path(f"peft-{release}-{name}")
        shutil.rmtree(folder, ignore_errors=True)
        network = LlamaForCausalLM.from_pretrained(base).eval()
        model = peft.get_peft_model(network, getattr(peft, config)(target_modules=TARGETS, **settings))
        torch.manual_seed(at)
        for own, parameter in model.named_parameters():
            if parameter.requires_grad:
                mean = 1.0 if own.endswith("oft_s.default") else 0.0
                torch.nn.init.normal_(parameter, mean=mean, std=0.2)
        model.save_pretrained(str(folder))
        loaded = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base).eval(), folder).eval()
        with torch.no_grad():
            outputs = loaded(input_ids=inputs).logits
        (folder / "README.md").unlink(missing_ok=True)
        save_file({"input_ids": inputs, "logits": outputs.contiguous()}, f"peft-{release}-{name}.outputs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
