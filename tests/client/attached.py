"""A delta that can only be attached, made of a real one."""

import json

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.fixtures.registries import SAMPLES


def biased_lora(folder, bias):
    """Make a LoRA with a bias on layers that have none, and give its folder."""
    own = SAMPLES / "deltas" / "tinyllama" / "lora"
    tensors = load_file(own / "adapter_model.safetensors")
    biases = {
        name.replace("lora_B.weight", "lora_B.bias"): np.full(t.shape[0], bias, dtype=np.float32)
        for name, t in tensors.items()
        if "lora_B" in name
    }
    config = json.loads((own / "adapter_config.json").read_text()) | {"lora_bias": True}
    folder.mkdir()
    save_file(tensors | biases, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
