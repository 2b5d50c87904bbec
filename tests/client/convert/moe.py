"""A tiny mixture of experts, whose files hold a matrix for each expert and projection."""

import json

import numpy as np
from safetensors.numpy import save_file

from tests import tiny

EXPERTS, WIDTH, HIDDEN = 3, 8, 12
MLP = "model.layers.{}.mlp.experts"


def base(path):
    """Write a base whose files hold a matrix for each expert and projection, as its class does."""
    rng = np.random.default_rng(0)
    weights = {}
    for layer in range(2):
        for expert in range(EXPERTS):
            for name, shape in {
                "gate_proj": (HIDDEN, WIDTH),
                "up_proj": (HIDDEN, WIDTH),
                "down_proj": (WIDTH, HIDDEN),
            }.items():
                weights[f"{MLP.format(layer)}.{expert}.{name}.weight"] = tiny.normal(rng, *shape)
        weights[f"model.layers.{layer}.mlp.gate.weight"] = tiny.normal(rng, EXPERTS, WIDTH)
        weights[f"model.layers.{layer}.self_attn.q_proj.weight"] = tiny.normal(rng, WIDTH, WIDTH)
        for norm in ("q_norm", "k_norm", "v_proj", "k_proj", "o_proj"):
            size = (WIDTH,) if "norm" in norm else (WIDTH, WIDTH)
            weights[f"model.layers.{layer}.self_attn.{norm}.weight"] = tiny.normal(rng, *size)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{layer}.{norm}.weight"] = np.ones(WIDTH, "f4")
    weights["model.embed_tokens.weight"] = tiny.normal(rng, 20, WIDTH)
    weights["lm_head.weight"] = tiny.normal(rng, 20, WIDTH)
    weights["model.norm.weight"] = np.ones(WIDTH, "f4")
    told = {
        "architectures": ["OlmoeForCausalLM"],
        "model_type": "olmoe",
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "num_experts": EXPERTS,
        "num_experts_per_tok": 2,
        "tie_word_embeddings": False,
        "vocab_size": 20,
        "pad_token_id": 1,
    }
    path.mkdir(parents=True)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(told))
    return tiny.Base(path, told, weights)
