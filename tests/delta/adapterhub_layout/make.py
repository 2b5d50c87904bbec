"""Makes `samples/` beside this file: what the adapters library writes and computes.

Run it in an environment of its own, since the library pins an older transformers:

    pip install adapters==1.3.0 torch
    python tests/delta/adapterhub_layout/make.py

Every network is tiny, random and seeded. Beside each base lie its adapters, one folder each, and
`outputs.safetensors` with inputs (`in::…`) and the logits that the library computed (`out::…`).
"""

import json
import shutil
from pathlib import Path
from typing import Any

import adapters
import torch
import transformers
from adapters import (
    AdapterModelInterface,
    CompacterConfig,
    DiReftConfig,
    DoubleSeqBnConfig,
    DoubleSeqBnInvConfig,
    IA3Config,
    LoRAConfig,
    LoReftConfig,
    NoReftConfig,
    ParBnConfig,
    SeqBnConfig,
    SeqBnInvConfig,
    VeraConfig,
)
from safetensors.torch import save_file

INTO = Path(__file__).parent / "samples"
WIDTH = 16
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT = {"vocab_size": 20, "max_position_embeddings": 16, "hidden_size": WIDTH, **LAYERS}
SIGHT = {"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": WIDTH, **LAYERS}
PAIR = {
    "d_model": WIDTH,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "vocab_size": 20,
}
OF_T5 = {
    "d_model": WIDTH,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "vocab_size": 20,
    "dropout_rate": 0.0,
}
OF_GPT2 = {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "vocab_size": 20, "n_positions": 16}
OF_DISTILBERT = {
    "dim": WIDTH,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 24,
    "vocab_size": 20,
    "max_position_embeddings": 16,
}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertForSequenceClassification", {**TEXT, "num_labels": 3}),
    "distilbert": ("DistilBertForSequenceClassification", {**OF_DISTILBERT, "num_labels": 3}),
    "gpt2": ("GPT2LMHeadModel", OF_GPT2),
    "llama": ("LlamaForCausalLM", {**TEXT, "num_key_value_heads": 1}),
    "qwen2": ("Qwen2ForCausalLM", {**TEXT, "num_key_value_heads": 1}),
    "vit": ("ViTForImageClassification", {**SIGHT, "num_labels": 3}),
    "clip": ("CLIPModel", {"text_config": TEXT, "vision_config": SIGHT, "projection_dim": 8}),
    "t5": ("T5ForConditionalGeneration", OF_T5),
    "bart": ("BartForConditionalGeneration", {**PAIR, "max_position_embeddings": 16, "forced_eos_token_id": None}),
    "whisper": (
        "WhisperForConditionalGeneration",
        {
            **PAIR,
            "max_source_positions": 8,
            "max_target_positions": 16,
            "num_mel_bins": 4,
            "pad_token_id": 1,
            "bos_token_id": 2,
            "eos_token_id": 2,
            "decoder_start_token_id": 3,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
    ),
}
NARROW = {"reduction_factor": 4}
MATRICES = ["v", "q", "k"]
ADAPTERS = {
    "bert": {
        "seq_inv": SeqBnInvConfig(**NARROW),
        "post_add": SeqBnConfig(**NARROW, residual_before_ln="post_add", scaling="learned"),
        "after_norm": SeqBnConfig(**NARROW, residual_before_ln=False, scaling="channel"),
        "gated": SeqBnConfig(**NARROW, use_gating=True, non_linearity="leakyrelu"),
        "lora_gated": LoRAConfig(r=2, alpha=6, use_gating=True),
        "loreft": LoReftConfig(r=3, prefix_positions=3, suffix_positions=2),
        "loreft_tied": LoReftConfig(r=3, prefix_positions=2, suffix_positions=2, tied_weights=True, layers=[1]),
    },
    "distilbert": {"double": DoubleSeqBnConfig(**NARROW, original_ln_before=True)},
    "gpt2": {
        "compacter": CompacterConfig(**NARROW, phm_dim=4),
        "lora": LoRAConfig(r=2, alpha=6, attn_matrices=["v", "k"], output_lora=True),
        "lora_gated": LoRAConfig(r=2, alpha=6, use_gating=True),
        "ia3": IA3Config(attn_matrices=["q", "v"], alpha=2),
    },
    "llama": {
        "parallel": ParBnConfig(**NARROW, use_gating=True),
        "by_layer": DoubleSeqBnConfig(reduction_factor={"1": 2, "default": 4}, leave_out=[0], non_linearity="gelu_new"),
        "noreft": NoReftConfig(r=3, prefix_positions=3, suffix_positions=2),
        "direft": DiReftConfig(r=3, prefix_positions=3, suffix_positions=2, non_linearity="gelu"),
    },
    "qwen2": {"double": DoubleSeqBnConfig(**NARROW, original_ln_before=True)},
    "vit": {
        "double": DoubleSeqBnConfig(**NARROW),
        "vera": VeraConfig(r=2, alpha=4),
        "lora": LoRAConfig(r=2, alpha=6, attn_matrices=MATRICES, intermediate_lora=True, leave_out=[1]),
    },
    "clip": {"double_inv": DoubleSeqBnInvConfig(**NARROW), "ia3": IA3Config()},
    "t5": {"cross": DoubleSeqBnConfig(**NARROW, cross_adapter=True)},
    "bart": {"cross": ParBnConfig(**NARROW, mh_adapter=True, cross_adapter=True)},
    "whisper": {"cross": DoubleSeqBnConfig(**NARROW, cross_adapter=True)},
}

# For networks that the library has no patch for.
INTERFACES = {
    "qwen2": AdapterModelInterface(
        adapter_methods=["bottleneck", "lora", "reft"],
        model_embeddings="embed_tokens",
        model_layers="layers",
        layer_self_attn="self_attn",
        layer_cross_attn=None,
        attn_q_proj="q_proj",
        attn_k_proj="k_proj",
        attn_v_proj="v_proj",
        attn_o_proj="o_proj",
        layer_intermediate_proj="mlp.up_proj",
        layer_output_proj="mlp.down_proj",
        layer_pre_self_attn="input_layernorm",
        layer_pre_ffn="post_attention_layernorm",
    )
}


def tokens(length: int) -> torch.Tensor:
    """Give two rows of tokens; the last one is the largest, which CLIP looks for."""
    made = torch.randint(3, 19, (2, length), generator=torch.Generator().manual_seed(1))
    made[:, -1] = 19
    return made


def inputs(name: str) -> dict[str, torch.Tensor]:
    """Give what a network is asked, with padding where it takes a mask."""
    random = torch.Generator().manual_seed(2)
    mask = torch.ones(2, 9, dtype=torch.long)
    if name == "llama":
        mask[1, :3] = 0
    elif name not in {"clip", "qwen2"}:
        mask[1, 6:] = 0
    images = {"pixel_values": torch.randn(2, 1, 8, 8, generator=random)}
    text = {"input_ids": tokens(9), "attention_mask": mask}
    match name:
        case "vit":
            return images
        case "clip":
            return text | images
        case "whisper":
            sound = torch.randn(2, 4, 16, generator=random)
            return {"input_features": sound, "decoder_input_ids": tokens(5)}
        case "t5" | "bart":
            return text | {"decoder_input_ids": tokens(5)}
        case _:
            return text


def make_base(name: str, into: Path) -> Any:
    """Write a random network in which norms and biases matter; gives its class."""
    torch.manual_seed(0)
    class_name, settings = NETWORKS[name]
    kind = getattr(transformers, class_name)
    module = kind(kind.config_class(**settings)).eval()
    for path, value in module.named_parameters():
        is_norm = "norm" in path.lower() or ".ln_" in path
        if is_norm or path.endswith("bias"):
            value.data.add_(torch.randn_like(value) * 0.2)
        elif value.dim() > 1 and name != "t5":
            value.data.mul_(4)
    module.save_pretrained(into)
    return kind


def disturb(module: torch.nn.Module) -> None:
    """Give an adapter and its head values as training might: none of them is at its start."""
    for path, value in module.named_parameters():
        noise = torch.randn_like(value) * 0.3
        if path.endswith("original"):  # what must stay orthonormal is moved where that is free
            value.data.add_(noise.triu(1))
        elif path.startswith("classifier") or (".task." in path and "vera_" in path):
            value.data.add_(noise)
        elif ".task." in path:
            value.data.copy_(noise + 1 if value.shape[-1:] == (1,) else noise)


def make_adapter(name: str, variant: str, kind: Any) -> torch.Tensor:
    """Write one adapter; gives the logits that the library computes with it."""
    module = kind.from_pretrained(INTO / name / "base").eval()
    adapters.init(module, interface=INTERFACES.get(name))
    torch.manual_seed(3)
    module.add_adapter("task", config=ADAPTERS[name][variant])
    module.set_active_adapters("task")
    disturb(module.eval())
    with torch.no_grad():
        found = module(**inputs(name))
    into = INTO / name / variant
    head = {} if name == "clip" else {"with_head": True}
    module.save_adapter(str(into), "task", use_safetensors=True, **head)
    for path in into.glob("*.json"):
        config = json.loads(path.read_text())
        if "model_name" in config:
            config["model_name"] = name
        if variant in {"noreft", "direft"} and path.name == "adapter_config.json":
            # The library leaves out what tells them apart.
            config["config"]["subtract_projection"] = variant == "noreft"
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return (found.logits_per_image if name == "clip" else found.logits).contiguous()


def main() -> None:
    """Write everything anew."""
    shutil.rmtree(INTO, ignore_errors=True)
    for name, variants in ADAPTERS.items():
        kind = make_base(name, INTO / name / "base")
        outputs = {f"in::{key}": value for key, value in inputs(name).items()}
        outputs |= {f"out::{v}": make_adapter(name, v, kind) for v in variants}
        save_file(outputs, INTO / name / "outputs.safetensors")


if __name__ == "__main__":
    main()
