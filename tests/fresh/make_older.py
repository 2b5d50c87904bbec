"""Write deltas of the families with an earlier release of peft and transformers, each with what it computes.

Run it with each release, in an environment of its own:

    pip install torch "numpy<2" pillow peft==0.10.0 transformers==4.39.3 "accelerate<1"
    pip install torch "numpy<2" pillow peft==0.14.0 transformers==4.47.1
    pip install torch "numpy<2" pillow peft==0.17.1 transformers==4.56.2
    python tests/fresh/make_older.py FOLDER

A folder each comes below FOLDER, as `tests/fresh/kept.py` reads it. It stands alone: such an
environment has no Delta Registry.
"""

import json
import os
import shutil
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before the libraries look

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import save_file

SEED, STEP, EACH = 150, 0.1, 3
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.2,
}
WORDS = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLM = {**TINY, **WORDS, "num_key_value_heads": 2, "max_position_embeddings": 64}
PLACES = {**TINY, **WORDS, "max_position_embeddings": 64}
LLAMA, MISTRAL, QWEN2 = ({"model_type": name, **LLM} for name in ("llama", "mistral", "qwen2"))
CLIP = {"model_type": "clip_vision_model", **TINY, "image_size": 8, "patch_size": 4, "projection_dim": 16}
SIGLIP = {"model_type": "siglip_vision_model", **TINY, "image_size": 8, "patch_size": 4}
IMAGE_OF = {**TINY, "image_size": 8, "patch_size": 4}
DEEP = {
    **LLM,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
SEQ = {
    **WORDS,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 64,
    "init_std": 0.2,
    "decoder_start_token_id": 2,
}
BASES: dict[str, dict[str, tuple[str, dict[str, Any], str]]] = {
    "0.10": {
        "llava": ("LlavaForConditionalGeneration", {"text_config": LLAMA, "vision_config": CLIP}, "words"),
        "qwen2_text": ("Qwen2ForCausalLM", LLM, "words"),
        "bigbird_pegasus": (
            "BigBirdPegasusForConditionalGeneration",
            {**SEQ, "attention_type": "original_full"},
            "words",
        ),
        "roc_bert": (
            "RoCBertForMaskedLM",
            {
                **PLACES,
                "pronunciation_vocab_size": 10,
                "shape_vocab_size": 10,
                "pronunciation_embed_dim": 8,
                "shape_embed_dim": 8,
            },
            "words",
        ),
        "funnel": (
            "FunnelForSequenceClassification",
            {
                "vocab_size": 40,
                "block_sizes": [1, 1],
                "num_decoder_layers": 1,
                "d_model": 16,
                "n_head": 2,
                "d_head": 8,
                "d_inner": 24,
                "num_labels": 3,
            },
            "words",
        ),
        "longformer": ("LongformerForSequenceClassification", {**PLACES, "attention_window": [4, 4]}, "words"),
        "luke": ("LukeForMaskedLM", {**PLACES, "entity_vocab_size": 12, "entity_emb_size": 8}, "words"),
        "xlnet": (
            "XLNetLMHeadModel",
            {**WORDS, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "initializer_range": 0.2},
            "words",
        ),
        "canine": (
            "CanineForTokenClassification",
            {**TINY, "max_position_embeddings": 64, "num_hash_functions": 4, "num_hash_buckets": 16, "num_labels": 3},
            "words",
        ),
        "vivit": (
            "VivitForVideoClassification",
            {**TINY, "image_size": 8, "num_frames": 4, "tubelet_size": [2, 4, 4], "num_labels": 3},
            "video",
        ),
        "timesformer": ("TimesformerForVideoClassification", {**IMAGE_OF, "num_frames": 4, "num_labels": 3}, "video"),
        "videomae": (
            "VideoMAEForVideoClassification",
            {**IMAGE_OF, "num_frames": 4, "tubelet_size": 2, "num_labels": 3},
            "video",
        ),
    },
    "0.14": {
        "paligemma": (
            "PaliGemmaForConditionalGeneration",
            {
                "text_config": {"model_type": "gemma", **LLM, "head_dim": 8},
                "vision_config": {**SIGLIP, "projection_dim": 16},
                "projection_dim": 16,
                "image_token_index": 30,
            },
            "words",
        ),
        "idefics3": (
            "Idefics3ForConditionalGeneration",
            {
                "text_config": LLAMA,
                "vision_config": {**TINY, "image_size": 16, "patch_size": 4},
                "scale_factor": 2,
                "image_token_id": 30,
            },
            "words",
        ),
        "llava_onevision": (
            "LlavaOnevisionForConditionalGeneration",
            {"text_config": QWEN2, "vision_config": SIGLIP, "image_token_index": 30, "video_token_index": 29},
            "words",
        ),
        "qwen2_audio": (
            "Qwen2AudioForConditionalGeneration",
            {
                "text_config": QWEN2,
                "audio_config": {
                    "model_type": "qwen2_audio_encoder",
                    "d_model": 16,
                    "encoder_layers": 2,
                    "encoder_attention_heads": 2,
                    "encoder_ffn_dim": 24,
                    "num_mel_bins": 8,
                    "max_source_positions": 8,
                },
                "audio_token_index": 30,
            },
            "words",
        ),
        "jamba": (
            "JambaForCausalLM",
            {
                **LLM,
                "num_experts": 2,
                "attn_layer_period": 2,
                "attn_layer_offset": 1,
                "expert_layer_period": 2,
                "expert_layer_offset": 1,
                "use_mamba_kernels": False,
                "mamba_d_state": 4,
                "mamba_dt_rank": 4,
            },
            "words",
        ),
        "granitemoe": ("GraniteMoeForCausalLM", {**LLM, "num_local_experts": 3, "num_experts_per_tok": 2}, "words"),
        "phimoe": ("PhimoeForCausalLM", {**LLM, "num_local_experts": 3}, "words"),
        "qwen2_moe": (
            "Qwen2MoeForCausalLM",
            {
                **LLM,
                "num_experts": 3,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 20,
                "shared_expert_intermediate_size": 12,
            },
            "words",
        ),
        "decision_transformer": (
            "DecisionTransformerModel",
            {"state_dim": 5, "act_dim": 3, "hidden_size": 16, "max_ep_len": 32, "n_layer": 2, "n_head": 2},
            "decisions",
        ),
    },
    "0.17": {
        "aya_vision": (
            "AyaVisionForConditionalGeneration",
            {
                "text_config": {"model_type": "cohere2", **LLM, "head_dim": 8},
                "vision_config": {**SIGLIP, "vision_use_head": False},
                "image_token_index": 30,
            },
            "words",
        ),
        "mistral3": (
            "Mistral3ForConditionalGeneration",
            {
                "text_config": {**MISTRAL, "head_dim": 8},
                "vision_config": {"model_type": "pixtral", **TINY, "head_dim": 8, "image_size": 64, "patch_size": 4},
                "image_token_index": 30,
                "spatial_merge_size": 2,
            },
            "words",
        ),
        "smolvlm": (
            "SmolVLMForConditionalGeneration",
            {
                "text_config": LLAMA,
                "vision_config": {**TINY, "image_size": 16, "patch_size": 4},
                "scale_factor": 2,
                "image_token_id": 30,
            },
            "words",
        ),
        "deepseek_v3": ("DeepseekV3ForCausalLM", {**DEEP, **LATENT}, "words"),
        "glm4_moe": ("Glm4MoeForCausalLM", {**DEEP, "head_dim": 8}, "words"),
        "ernie4_5_moe": (
            "Ernie4_5_MoeForCausalLM",
            {
                **LLM,
                "moe_intermediate_size": 12,
                "moe_k": 2,
                "moe_num_experts": 4,
                "moe_num_shared_experts": 1,
                "moe_layer_start_index": 1,
            },
            "words",
        ),
        "hunyuan_v1_moe": ("HunYuanMoEV1ForCausalLM", {**LLM, "head_dim": 8, "num_experts": 4, "moe_topk": 2}, "words"),
        "llama4_text": (
            "Llama4ForCausalLM",
            {**LLM, "head_dim": 8, "intermediate_size_mlp": 24, "num_local_experts": 2, "interleave_moe_layer_step": 2},
            "words",
        ),
        "patchtst": (
            "PatchTSTForPrediction",
            {
                "num_input_channels": 2,
                "context_length": 16,
                "patch_length": 4,
                "patch_stride": 4,
                "d_model": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "ffn_dim": 24,
                "prediction_length": 4,
                "init_std": 0.2,
            },
            "series",
        ),
    },
}
"""Release -> base -> its class, the config, and what it reads."""

KINDS: dict[str, tuple[str, dict[str, Any], int]] = {
    "lora on leaves": ("LoraConfig", {"r": 3, "lora_alpha": 5}, 6),
    "dora": ("LoraConfig", {"r": 2, "lora_alpha": 4, "use_dora": True}, 3),
    "lora, rank-stabilised": ("LoraConfig", {"r": 4, "lora_alpha": 6, "use_rslora": True}, 3),
    "ia3": ("IA3Config", {"feedforward_modules": []}, 3),
    "loha": ("LoHaConfig", {"r": 2, "alpha": 3}, 3),
    "lokr": ("LoKrConfig", {"r": 2, "alpha": 3}, 3),
    "oft": ("OFTConfig", {}, 2),
    "adalora": ("AdaLoraConfig", {"init_r": 3, "target_r": 2, "total_step": 10}, 2),
    "all of it": ("", {}, 0),
}
"""Kind -> the class of its config, the settings, and how many sorts of modules it is on."""


def main(out: Path) -> None:
    """Write all that are planned of the installed release."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    release = ".".join(peft.__version__.split(".")[:2])
    for name, (cls, options, sort) in BASES[release].items():
        start = zlib.crc32(name.encode()) + SEED
        for at, kind in enumerate(KINDS):
            if (start + at) % EACH:
                continue
            folder = out / f"{release}-{name}-{kind.replace(' ', '_').replace(',', '')}"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                make(folder, name, getattr(transformers, cls), options, sort, kind)
            except Exception as error:  # noqa: BLE001  # whatever the release cannot do is no delta
                shutil.rmtree(folder, ignore_errors=True)
                print(f"not made: {kind} on {name}: {type(error).__name__}: {str(error)[:160]}", flush=True)


def make(folder: Path, name: str, cls, options: dict, sort: str, kind: str) -> None:
    """Write one base, one delta and what the release computes with both loaded from there."""
    random = np.random.default_rng([SEED, *f"{name}/{kind}".encode()])
    torch.manual_seed(int(random.integers(1 << 30)))
    network = cls(cls.config_class(**options)).float().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
    network.save_pretrained(folder / "base")
    inputs = draw(random, sort)
    if kind == "all of it":
        train(network, inputs)
        network.save_pretrained(folder / "delta")
        ready = cls.from_pretrained(folder / "delta").eval()
    else:
        model = peft.get_peft_model(network, config_of(network, kind, random))
        train(model, inputs)
        model.save_pretrained(folder / "delta")
        ready = peft.PeftModel.from_pretrained(cls.from_pretrained(folder / "base"), folder / "delta").eval()
    (folder / "delta" / "README.md").unlink(missing_ok=True)
    wanted, plain = outputs(ready, inputs), outputs(cls.from_pretrained(folder / "base").eval(), inputs)
    if all(torch.allclose(wanted[n], plain[n], atol=1e-4) for n in wanted) or not all(
        value.isfinite().all() for value in wanted.values()
    ):
        raise ValueError("it has no effect")
    save_file(inputs, folder / "inputs.safetensors")
    save_file({n: v.contiguous() for n, v in wanted.items()}, folder / "expected.safetensors")
    save_file({n: v.contiguous() for n, v in plain.items()}, folder / "plain.safetensors")
    by = f"peft {peft.__version__}, transformers {transformers.__version__}"
    (folder / "meta.json").write_text(json.dumps({"class": cls.__name__, "base": name, "recipe": kind, "by": by}))


def config_of(network, kind: str, random):
    """Adapt some of the linear layers, the head left out."""
    name, settings, count = KINDS[kind]
    head = network.get_output_embeddings()
    ends = {
        path.rpartition(".")[2]
        for path, module in network.named_modules()
        if type(module) is torch.nn.Linear and module is not head and not path.rpartition(".")[2].isdecimal()
    }
    names = sorted(end for end in ends if end not in {"classifier", "score", "gate", "shared_expert_gate"})
    chosen = [names[n] for n in sorted(random.choice(len(names), size=min(count, len(names)), replace=False))]
    if kind == "oft":
        is_old = peft.__version__ < "0.15"
        settings = {"r": 4} if is_old else {"oft_block_size": 4, "use_cayley_neumann": False}
    return getattr(peft, name)(target_modules=chosen, **settings)


def train(model, inputs: dict) -> None:
    """Move what is trainable and gets a gradient: some classes never run a part of theirs."""
    result = model(**inputs, return_dict=True)
    ends = [v.float().sum() for v in result.values() if isinstance(v, torch.Tensor) and v.requires_grad]
    torch.stack(ends).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.is_floating_point() and parameter.grad is not None:
                parameter.add_(STEP * torch.randn_like(parameter))
    model.zero_grad()


def draw(random, sort: str) -> dict:
    """Draw inputs."""
    if sort == "words":
        return {"input_ids": torch.from_numpy(random.integers(3, 28, size=(2, 12)))}
    if sort == "video":
        return {"pixel_values": torch.from_numpy(random.standard_normal((2, 4, 3, 8, 8)).astype(np.float32))}
    if sort == "series":
        return {"past_values": torch.from_numpy(random.standard_normal((2, 16, 2)).astype(np.float32))}
    sizes = {"states": 5, "actions": 3, "rewards": 1, "returns_to_go": 1}
    found = {n: torch.from_numpy(random.standard_normal((2, 4, s)).astype(np.float32)) for n, s in sizes.items()}
    found["timesteps"] = torch.arange(4).repeat(2, 1)
    return {**found, "attention_mask": torch.ones(2, 4)}


def outputs(network, inputs: dict) -> dict:
    """Give the floating outputs by name."""
    with torch.no_grad():
        result = network(**inputs, return_dict=True)
    return {
        name: value.float()
        for name, value in result.items()
        if isinstance(value, torch.Tensor) and value.dtype.is_floating_point
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
