"""Bases packed into few bits, by the forms that the libraries write.

    packing.pack(base_folder, tmp_path / "fp8", "fp8")

What a library writes here is written by us from its published form; `tests/delta/test_quantised.py`
compares with the libraries themselves, or with what they wrote.
"""

import json
import shutil

import numpy as np
import torch
from safetensors.torch import load_file, save_file

CONFIGS = {
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [16, 16]},
    "int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 8},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 8, "version": "gemm"},
    "bnb4": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}
NF4 = (
    -1.0,
    -0.6961928,
    -0.52507305,
    -0.3949175,
    -0.28444138,
    -0.18477343,
    -0.09105004,
    0.0,
    0.0795803,
    0.1609302,
    0.2461123,
    0.33791524,
    0.44070983,
    0.562617,
    0.72295684,
    1.0,
)
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
PROJECTIONS = tuple(f"{name}_proj.weight" for name in ("q", "k", "v", "o", "gate", "up", "down"))


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
}


def base(path, seed=0):
    """Write a base in full precision whose sizes every scheme takes; gives its folder."""
    random = torch.Generator().manual_seed(seed)
    tensors = {"model.embed_tokens.weight": (96, 32), "lm_head.weight": (96, 32)}
    for layer in range(2):
        module = f"model.layers.{layer}"
        tensors |= {f"{module}.self_attn.{n}_proj.weight": (32, 32) for n in "qo"}
        tensors |= {f"{module}.self_attn.{n}_proj.weight": (16, 32) for n in "kv"}
        tensors |= {f"{module}.mlp.{n}_proj.weight": (64, 32) for n in ("gate", "up")}
        tensors[f"{module}.mlp.down_proj.weight"] = (32, 64)
    made = {n: torch.randn(shape, generator=random) * 0.2 for n, shape in tensors.items()}
    for layer in range(2):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            made[f"model.layers.{layer}.{norm}.weight"] = torch.ones(32)
    made["model.norm.weight"] = torch.ones(32)
    path.mkdir(parents=True)
    save_file(made, path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(LLAMA))
    return path


def lora(path, seed=1, modules=("q", "v"), **config):
    """Write a peft LoRA of such a base; gives its folder."""
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        for name in modules:
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}_proj"
            out = 16 if name in "kv" else 32
            tensors[f"{key}.lora_A.weight"] = torch.randn(4, 32, generator=random) * 0.2
            tensors[f"{key}.lora_B.weight"] = torch.randn(out, 4, generator=random) * 0.2
    path.mkdir(parents=True)
    save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})
    told = {
        "base_model_name_or_path": "org/root",
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 4,
        "target_modules": [f"{name}_proj" for name in modules],
        "bias": "none",
        "task_type": "CAUSAL_LM",
        "peft_version": "0.21.2",
        "fan_in_fan_out": False,
        "revision": None,
    }
    (path / "adapter_config.json").write_text(json.dumps(told | config))
    return path


def pack(base, out, scheme, *, config=None, ends=PROJECTIONS):
    """Write a base with the weights of its projections packed; gives its folder."""
    out.mkdir(parents=True)
    for path in base.iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, out / path.name)
    tensors: dict[str, torch.Tensor] = {}
    for path in base.glob("*.safetensors"):
        for name, weight in load_file(path).items():
            is_packed = name.endswith(ends)
            tensors |= PACKERS[scheme](name, weight.float()) if is_packed else {name: weight}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    document = json.loads((base / "config.json").read_text())
    document["quantization_config"] = CONFIGS[scheme] if config is None else config
    (out / "config.json").write_text(json.dumps(document))
    return out


def fp8(name, weight, block=16):
    """Scale blocks so that the largest is 448."""
    high, wide = (-(-size // block) for size in weight.shape)
    grid = torch.zeros(high, wide)
    packed = torch.zeros_like(weight)
    for i in range(high):
        for j in range(wide):
            place = slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block)
            grid[i, j] = max(float(weight[place].abs().max()) / 448, 1e-12)
            packed[place] = weight[place] / grid[i, j]
    return {name: packed.to(torch.float8_e4m3fn), f"{name}_scale_inv": grid}


def int8(name, weight):
    """Scale rows so that the largest is 127."""
    largest = weight.abs().amax(1)
    module = name.removesuffix(".weight")
    packed = torch.round(weight * 127 / largest[:, None]).to(torch.int8)
    return {name: packed, f"{module}.SCB": largest, f"{module}.weight_format": torch.tensor(0)}


def gptq(name, weight, group=8):
    """Words of eight numbers along the input, zeros stored less one, scales by groups."""
    numbers, zeros, scales = _four_bits(weight.T.numpy(), group)
    module = name.removesuffix(".weight")
    return {
        f"{module}.qweight": _words(numbers, axis=0, order=range(8)),
        f"{module}.qzeros": _words(zeros - 1, axis=1, order=range(8)),
        f"{module}.scales": torch.from_numpy(np.ascontiguousarray(scales)),
        f"{module}.g_idx": torch.arange(len(numbers), dtype=torch.int32) // group,
    }


def awq(name, weight, group=8):
    """Words of eight numbers along the output, in an order of their own."""
    numbers, zeros, scales = _four_bits(weight.T.numpy(), group)
    module = name.removesuffix(".weight")
    return {
        f"{module}.qweight": _words(numbers, axis=1, order=AWQ_ORDER),
        f"{module}.qzeros": _words(zeros, axis=1, order=AWQ_ORDER),
        f"{module}.scales": torch.from_numpy(np.ascontiguousarray(scales)),
    }


def bnb4(name, weight, block=64):
    """The nearest of sixteen values by blocks of 64, two a byte, the first in the high bits."""
    flat = weight.reshape(-1, block).numpy()
    largest = np.abs(flat).max(1)
    map_ = np.array(NF4, np.float32)
    codes = np.abs((flat / largest[:, None])[..., None] - map_).argmin(-1).astype(np.uint8)
    pairs = codes.reshape(-1, 2)
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "float32", "shape": list(weight.shape)}
    return {
        name: torch.from_numpy((pairs[:, 0] << 4 | pairs[:, 1])[:, None]),
        f"{name}.absmax": torch.from_numpy(largest),
        f"{name}.quant_map": torch.from_numpy(map_),
        f"{name}.quant_state.bitsandbytes__nf4": torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8),
    }


PACKERS = {"fp8": fp8, "int8": int8, "gptq": gptq, "awq": awq, "bnb4": bnb4}


def _four_bits(weight, group):
    """Give numbers, zeros and scales of a matrix (in, out), by groups of inputs."""
    parts = weight.reshape(-1, group, weight.shape[1])
    low, high = np.minimum(parts.min(1), 0), np.maximum(parts.max(1), 0)
    scales = np.maximum((high - low) / 15, 1e-6).astype(np.float32)
    zeros = np.clip(np.round(-low / scales), 1, 15).astype(np.int64)
    numbers = np.clip(np.round(parts / scales[:, None]) + zeros[:, None], 0, 15).astype(np.int64)
    return numbers.reshape(weight.shape), zeros, scales


def _words(numbers, *, axis, order):
    numbers = numbers if axis == 0 else numbers.T
    grouped = numbers.reshape(-1, 8, numbers.shape[1]).astype(np.uint32)
    words = np.zeros((grouped.shape[0], grouped.shape[2]), np.uint32)
    for bit, place in enumerate(order):
        words |= grouped[:, place] << np.uint32(4 * bit)
    words = words if axis == 0 else words.T
    return torch.from_numpy(np.ascontiguousarray(words).view(np.int32))
