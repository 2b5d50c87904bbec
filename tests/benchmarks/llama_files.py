"""Llama by rule: a bf16 base of many gigabytes, a full fine-tune of it and a LoRA, in shards.

Values are one normal draw, repeated from another place for each tensor, so that gigabytes are
written as fast as the disk takes them and cost megabytes of memory.
"""

import json
import math
import struct
from dataclasses import dataclass

import numpy as np

RANK, ALPHA = 16, 32
LINEAR = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
_SHARD_BYTES = 2_000_000_000
_DRAW = 4 << 20
_BASE_SEED, _TUNED_SEED = 11, 12


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama; the defaults are those of Llama 3 8B, with Llama 2's vocabulary."""

    layers: int
    hidden: int = 4096
    inner: int = 14336
    heads: int = 32
    key_heads: int = 8
    vocabulary: int = 32000

    @classmethod
    def of_size(cls, size_bytes):
        """Take as many layers as make at least that many bytes of bf16."""
        one, two = (cls(layers).size_bytes for layers in (1, 2))
        return cls(max(1, 1 + math.ceil((size_bytes - one) / (two - one))))

    @property
    def size_bytes(self):
        return 2 * sum(math.prod(shape) for shape in self.tensors().values())

    def tensors(self):
        """Give all names with their shapes, in the order of the files."""
        wide = (self.vocabulary, self.hidden)
        found = {"model.embed_tokens.weight": wide}
        for layer in range(self.layers):
            found |= {f"model.layers.{layer}.{n}.weight": s for n, s in self._layer().items()}
        return found | {"model.norm.weight": (self.hidden,), "lm_head.weight": wide}

    def linear(self):
        """Give the modules that a LoRA on all linear layers adapts, with their shapes."""
        return {
            name.removesuffix(".weight"): shape
            for name, shape in self.tensors().items()
            if name.removesuffix(".weight").endswith(LINEAR)
        }

    def config(self):
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "dtype": "bfloat16",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": False,
        }

    def _layer(self):
        hidden, inner = self.hidden, self.inner
        keys = hidden // self.heads * self.key_heads
        shapes = [(hidden, hidden), (keys, hidden), (keys, hidden), (hidden, hidden)]
        shapes += [(inner, hidden), (inner, hidden), (hidden, inner)]
        norms = dict.fromkeys(("input_layernorm", "post_attention_layernorm"), (hidden,))
        return dict(zip(LINEAR, shapes, strict=True)) | norms


def write_base(folder, shape):
    """Write the base."""
    return _write_model(folder, shape, _BASE_SEED)


def write_tuned(folder, shape, *, seed=_TUNED_SEED):
    """Write a full fine-tune: every weight has another value."""
    return _write_model(folder, shape, seed)


def write_lora(folder, shape, *, seed=13, base="large"):
    """Write a LoRA on all linear layers, in the layout of peft."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    sizes = {}
    for module, (height, width) in shape.linear().items():
        sizes[f"base_model.model.{module}.lora_A.weight"] = (RANK, width)
        sizes[f"base_model.model.{module}.lora_B.weight"] = (height, RANK)
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(_header("F32", sizes))
        for size in sizes.values():
            file.write((chance.standard_normal(size, np.float32) * 0.02).tobytes())
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": [name.rpartition(".")[2] for name in LINEAR],
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": False,
        "base_model_name_or_path": base,
        "peft_version": "0.21.2",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def read(folder, name):
    """Read one whole tensor: bf16 as its bits, float32 as it is."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entry = json.loads(file.read(length)).get(name)
        if entry is not None:
            begin, end = entry["data_offsets"]
            dtype = np.dtype({"BF16": "<u2", "F32": "<f4"}[entry["dtype"]])
            count = (end - begin) // dtype.itemsize
            found = np.fromfile(path, dtype, count, offset=8 + length + begin)
            return found.reshape(entry["shape"])
    raise KeyError(name)


def _write_model(folder, shape, seed):
    folder.mkdir(parents=True)
    draw = _draw(seed)
    shards = _shards(shape.tensors())
    places: dict[str, str] = {}
    for number, tensors in enumerate(shards, 1):
        path = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        places |= dict.fromkeys(tensors, path)
        with (folder / path).open("wb") as file:
            file.write(_header("BF16", tensors))
            for name, size in tensors.items():
                _write_values(file, draw, math.prod(size), at=_place_of(name))
    index = {"metadata": {"total_size": shape.size_bytes}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(shape.config()))
    return folder


def _shards(tensors):
    shards: list[dict] = [{}]
    room = _SHARD_BYTES
    for name, size in tensors.items():
        room -= 2 * math.prod(size)
        if room < 0 and shards[-1]:
            shards.append({})
            room = _SHARD_BYTES - 2 * math.prod(size)
        shards[-1][name] = size
    return shards


def _place_of(name):
    """Give a number that is the same for a name on every machine."""
    return int.from_bytes(name.encode(), "little") % _DRAW


def _write_values(file, draw, count, *, at):
    while count:
        part = draw[at : at + count]
        file.write(part)
        count, at = count - len(part), 0


def _draw(seed):
    values = np.random.default_rng(seed).standard_normal(_DRAW, np.float32) * np.float32(0.02)
    bits = values.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _header(dtype, tensors):
    entries, at = {}, 0
    for name, shape in tensors.items():
        end = at + math.prod(shape) * {"BF16": 2, "F32": 4}[dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
