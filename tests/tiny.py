"""Tiny bases and deltas, made by rule from a seed and written with safetensors.

    base = tiny.base(tmp_path / "base")
    tiny.lora(tmp_path / "delta", base)

Every builder returns what it wrote; numbers are small, so everything takes milliseconds.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WIDTH, HIDDEN, LAYERS, VOCABULARY = 8, 12, 2, 20
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
    "vocab_size": VOCABULARY,
}
GPT2 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_embd": WIDTH,
    "n_layer": LAYERS,
    "n_head": 2,
    "tie_word_embeddings": True,
    "vocab_size": VOCABULARY,
}
PREFIX = "base_model.model."
LORA_CONFIG = {
    "base_model_name_or_path": "tiny",
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "peft_type": "LORA",
    "peft_version": "0.21.2",
    "r": 2,
    "target_modules": ["q_proj", "v_proj"],
    "task_type": "CAUSAL_LM",
}


@dataclass(frozen=True)
class Base:
    """A base that was written: where, its config and its weights by name."""

    path: Path
    config: dict
    weights: dict

    def modules(self, *ends):
        """Name the modules whose weight ends in one of these."""
        names = [name.removesuffix(".weight") for name in self.weights if name.endswith(".weight")]
        return [name for name in names if name.rpartition(".")[2] in ends]


@dataclass(frozen=True)
class Delta:
    """A delta that was written: where, its config and its tensors by name."""

    path: Path
    config: dict
    tensors: dict


def base(path, *, seed=0, kind="llama", dtype=np.float32, shards=1, layers=LAYERS):
    """Write a base: `llama` (untied, no biases) or `gpt2` (tied, Conv1D, with biases)."""
    rng = np.random.default_rng(seed)
    shapes = _llama(layers) if kind == "llama" else _gpt2()
    weights = {name: normal(rng, *shape, dtype=dtype) for name, shape in shapes.items()}
    config = LLAMA | {"num_hidden_layers": layers} if kind == "llama" else GPT2
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    _save_shards(path, weights, shards)
    return Base(path, config, weights)


def lora(path, base, *, seed=1, r=2, targets=("q_proj", "v_proj"), dtype=np.float32, **config):
    """Write a peft LoRA on every module that ends in one of `targets`.

    `use_dora=True` adds magnitudes near the norms of the base's rows; any other keyword goes into
    the config.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for module in base.modules(*targets):
        n_out, n_in = _out_in(base, module)
        key = f"{PREFIX}{module}."
        tensors[f"{key}lora_A.weight"] = normal(rng, r, n_in, dtype=dtype)
        tensors[f"{key}lora_B.weight"] = normal(rng, n_out, r, dtype=dtype)
        if config.get("use_dora"):
            norms = np.linalg.norm(base.weights[f"{module}.weight"], axis=1)
            scatter = rng.uniform(0.9, 1.1, n_out)
            tensors[f"{key}lora_magnitude_vector"] = (norms * scatter).astype(dtype)
    filled = {**LORA_CONFIG, "r": r, "target_modules": list(targets), **config}
    return write(path, tensors, adapter_config=filled)


def full(path, base, *, seed=2, strength=0.1, dtype=np.float32, shards=1):
    """Write a full fine-tune: every weight moved a little, config and index beside."""
    rng = np.random.default_rng(seed)
    tensors = {
        name: (weight + strength * normal(rng, *weight.shape)).astype(dtype) for name, weight in base.weights.items()
    }
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(base.config))
    _save_shards(path, tensors, shards)
    return Delta(path, base.config, tensors)


def bitfit(path, base, *, seed=3, convention="absolute", strength=0.1, metadata=None):
    """Write new biases (`model.safetensors`) or differences of biases (`delta.safetensors`)."""
    rng = np.random.default_rng(seed)
    own = {name: weight for name, weight in base.weights.items() if name.endswith(".bias")}
    changes = {name: strength * normal(rng, *bias.shape) for name, bias in own.items()}
    if convention == "absolute":
        tensors = {name: (own[name] + change).astype(np.float32) for name, change in changes.items()}
        return write(path, tensors, file="model.safetensors", metadata=metadata)
    return write(path, changes, file="delta.safetensors", metadata=metadata)


def write(path, tensors, *, file="adapter_model.safetensors", adapter_config=None, metadata=None):
    """Write tensors, and an `adapter_config.json` when one is given."""
    path.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(contiguous, path / file, metadata=metadata)
    if adapter_config is not None:
        (path / "adapter_config.json").write_text(json.dumps(adapter_config))
    return Delta(path, adapter_config or {}, tensors)


def normal(rng, *shape, dtype=np.float32):
    """Draw normal numbers of a size that networks have."""
    return (0.3 * rng.standard_normal(shape)).astype(dtype)


def _out_in(base, module):
    shape = base.weights[f"{module}.weight"].shape
    is_transposed = base.config["model_type"] == "gpt2" and ".h." in module
    return shape[::-1] if is_transposed else shape


def _save_shards(path, tensors, shards):
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
        return
    table = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        save_file(part, path / file, metadata={"format": "pt"})
        table.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": 0}, "weight_map": table}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def _llama(layers):
    layer = {
        "input_layernorm": (WIDTH,),
        "mlp.down_proj": (WIDTH, HIDDEN),
        "mlp.gate_proj": (HIDDEN, WIDTH),
        "mlp.up_proj": (HIDDEN, WIDTH),
        "post_attention_layernorm": (WIDTH,),
        "self_attn.k_proj": (WIDTH, WIDTH),
        "self_attn.o_proj": (WIDTH, WIDTH),
        "self_attn.q_proj": (WIDTH, WIDTH),
        "self_attn.v_proj": (WIDTH, WIDTH),
    }
    top = {"lm_head": (VOCABULARY, WIDTH), "model.embed_tokens": (VOCABULARY, WIDTH), "model.norm": (WIDTH,)}
    inner = {f"model.layers.{n}.{name}": shape for n in range(layers) for name, shape in layer.items()}
    return {f"{name}.weight": shape for name, shape in {**top, **inner}.items()}


def _gpt2():
    layer = {
        "attn.c_attn": (WIDTH, 3 * WIDTH),
        "attn.c_proj": (WIDTH, WIDTH),
        "ln_1": (WIDTH,),
        "ln_2": (WIDTH,),
        "mlp.c_fc": (WIDTH, 4 * WIDTH),
        "mlp.c_proj": (4 * WIDTH, WIDTH),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (VOCABULARY, WIDTH),
        "transformer.wpe.weight": (16, WIDTH),
    }
    for name, shape in {
        "transformer.ln_f": (WIDTH,),
        **{f"transformer.h.{n}.{key}": shape for n in range(LAYERS) for key, shape in layer.items()},
    }.items():
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = shape[-1:]
    return shapes
