"""Bases and adapters that a real vLLM serves on a CPU: a head has 64 values, all else is small."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import peft
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from tests.fixtures.registries import SAMPLES

_TARGETS = ["q_proj", "v_proj"]
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_WEIGHTS = "adapter_model.safetensors"


def make_base(folder: Path, *, seed: int, hidden: int = 256) -> Path:
    """Write a base; another seed gives one of the same shapes that says other things."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128 or 1,
        num_hidden_layers=2,
        vocab_size=384,
        head_dim=64,
        max_position_embeddings=512,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in _TOKENIZER:
        shutil.copyfile(SAMPLES / "bases" / "tinyllama" / name, folder / name)
    return folder


def make_lora(base: Path, folder: Path, *, seed: int) -> Path:
    """Write a LoRA that changes what is said, as training would."""
    return _save(base, folder, peft.LoraConfig(r=4, lora_alpha=8, target_modules=_TARGETS), seed)


def make_refused(base: Path, folder: Path) -> dict[str, Path]:
    """Write what vLLM refuses, each by its name: what the libraries save, and what is broken."""
    configs: dict[str, Callable[[], peft.PeftConfig]] = {
        "rank": lambda: peft.LoraConfig(r=16, target_modules=_TARGETS),
        "dora": lambda: peft.LoraConfig(r=4, target_modules=_TARGETS, use_dora=True),
        "modules_to_save": lambda: peft.LoraConfig(r=4, target_modules=_TARGETS, modules_to_save=["lm_head"]),
        "bias": lambda: peft.LoraConfig(r=4, target_modules=_TARGETS, lora_bias=True),
        "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "loha": lambda: peft.LoHaConfig(r=4, target_modules=_TARGETS),
        "adalora": lambda: peft.AdaLoraConfig(target_r=4, init_r=6, total_step=10, target_modules=_TARGETS),
    }
    made = {name: _save(base, folder / name, make(), 1) for name, make in configs.items()}
    good = make_lora(base, folder / "good", seed=1)
    made["cut"] = _copy(good, folder / "cut")
    weights = made["cut"] / _WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    made["no_weights"] = _copy(good, folder / "no_weights")
    (made["no_weights"] / _WEIGHTS).unlink()
    made["no_config"] = _copy(good, folder / "no_config")
    (made["no_config"] / "adapter_config.json").unlink()
    made["unknown_modules"] = _renamed(good, folder / "unknown_modules", "q_proj", "query")
    made["absent"] = folder / "absent"
    return made


def _save(base: Path, folder: Path, config: peft.PeftConfig, seed: int) -> Path:
    torch.manual_seed(seed)
    config.task_type = "CAUSAL_LM"
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what the libraries would not advise
        wrapped = peft.get_peft_model(model, config)
        for name, value in wrapped.named_parameters():
            if value.requires_grad and "lora_magnitude" not in name:
                value.normal_(std=0.2)
        wrapped.save_pretrained(str(folder))
    return folder


def _copy(source: Path, to: Path) -> Path:
    shutil.copytree(source, to)
    return to


def _renamed(source: Path, to: Path, old: str, new: str) -> Path:
    _copy(source, to)
    tensors = load_file(to / _WEIGHTS)
    save_file({name.replace(old, new): value for name, value in tensors.items()}, to / _WEIGHTS)
    path = to / "adapter_config.json"
    path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))
    assert new in json.loads(path.read_text())["target_modules"]
    return to
