"""Large deltas by rule: a bf16 base and a full fine-tune of it, and two wide LoRA adapters.

Written tensor by tensor from a fixed seed, so that gigabytes cost megabytes of memory.
"""

import json
import struct
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

WIDTH = 2048
TENSOR_BYTES = 2 * WIDTH * WIDTH
_SHARD_TENSORS = 32
REAL_STEP = 6e-5  # moves about a third of all bf16 weights, as a fine-tune at 2e-5 does
LARGE_STEP = 5e-3  # moves all of them, so that there is more to send
_WIDE = "model.layers.0.self_attn.q_proj.weight"
_KINDS = ("mlp.gate_proj", "mlp.up_proj", "self_attn.q_proj", "self_attn.o_proj")


def write_pair(folder, size_bytes, *, step=REAL_STEP, seed=7):
    """Write a base and a full fine-tune of it, each of about that size; gives both folders."""
    count = max(1, size_bytes // TENSOR_BYTES)
    base, tuned = folder / "base", folder / "tuned"
    _write_model(base, count, lambda number: _weights(seed, number))
    _write_model(tuned, count, lambda number: _tuned(seed, number, step))
    return base, tuned


def write_next(folder, size_bytes, *, step, seed=7, first=REAL_STEP):
    """Write a checkpoint that was trained on from the fine-tune of `write_pair`."""
    count = max(1, size_bytes // TENSOR_BYTES)
    _write_model(folder, count, lambda number: _moved(_tuned(seed, number, first), seed, 2, number, step))
    return folder


def write_adapter(folder, width, *, seed, rank=16):
    """Write a LoRA adapter of one square module of that width."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    key = f"base_model.model.{_WIDE.removesuffix('.weight')}"
    tensors = {f"{key}.lora_A.weight": (rank, width), f"{key}.lora_B.weight": (width, rank)}
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(_header({name: ("F32", shape) for name, shape in tensors.items()}))
        for shape in tensors.values():
            file.write(chance.normal(0, 0.02, shape).astype("<f4").tobytes())
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj"],
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": False,
        "base_model_name_or_path": "wide",
        "peft_version": "0.21.2",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def write_wide_base(folder, width):
    """Write a base of one square module without a byte of weights on the disk: sparse zeros."""
    folder.mkdir(parents=True)
    with (folder / "model.safetensors").open("wb") as file:
        head = _header({_WIDE: ("BF16", (width, width))})
        file.write(head)
        file.truncate(len(head) + 2 * width * width)
    (folder / "config.json").write_text(json.dumps(_config(width, 1)))
    return folder


@contextmanager
def peak_memory(pid):
    """Watch the anonymous memory of a process; gives a list with its peak in bytes."""
    peak, stop = [0], threading.Event()
    status = Path(f"/proc/{pid}/status")

    def watch():
        while not stop.wait(0.005):
            try:
                text = status.read_text()
            except OSError:
                return
            for line in text.splitlines():
                if line.startswith("RssAnon:"):
                    peak[0] = max(peak[0], int(line.split()[1]) * 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _write_model(folder, count, weights):
    folder.mkdir(parents=True)
    shards = -(-count // _SHARD_TENSORS)
    places: dict[str, str] = {}
    for shard in range(shards):
        path = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        numbers = range(shard * _SHARD_TENSORS, min(count, (shard + 1) * _SHARD_TENSORS))
        places |= {_name(number): path for number in numbers}
        with (folder / path).open("wb") as file:
            file.write(_header({_name(n): ("BF16", (WIDTH, WIDTH)) for n in numbers}))
            for number in numbers:
                file.write(_bf16(weights(number)))
    index = {"metadata": {"total_size": count * TENSOR_BYTES}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(_config(WIDTH, -(-count // len(_KINDS)))))


def _name(number):
    layer, kind = divmod(number, len(_KINDS))
    return f"model.layers.{layer}.{_KINDS[kind]}.weight"


def _config(width, layers):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "vocab_size": 32,
        "tie_word_embeddings": False,
    }


def _weights(seed, number):
    return _noise(seed, number) * np.float32(0.02)


def _tuned(seed, number, step):
    return _moved(_weights(seed, number), seed, 1, number, step)


def _moved(weights, seed, turn, number, step):
    # From rounded weights, as training does.
    weights = (_rounded(weights).astype("<u4") << 16).view("<f4")
    weights += _noise(seed + turn, number) * np.float32(step)
    return weights


def _noise(seed, number):
    """Give normal numbers, other ones for each number: one large draw, turned further."""
    return np.roll(_draw(seed), 7919 * number)


@cache
def _draw(seed):
    return np.random.default_rng(seed).standard_normal(WIDTH * WIDTH, np.float32)


def _rounded(weights):
    bits = weights.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _bf16(weights):
    return _rounded(weights).tobytes()


def _header(tensors):
    entries, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = at + int(np.prod(shape)) * {"BF16": 2, "F32": 4}[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
