"""Small random networks of many types, and inputs for them, one row of which is padded."""

from typing import Any

import numpy as np
import torch
import transformers

N = 5
Settings = dict[str, Any]
IDS = np.random.default_rng(3).integers(3, 64, (2, 12))
PADDED = np.ones_like(IDS)
PADDED[0, :3] = 0
SMALL: Settings = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
GROUPED: Settings = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
GPT: Settings = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
T5: Settings = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_heads": 4, "pad_token_id": 0}
BART: Settings = {
    "vocab_size": 64,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
DECODERS: dict[str, tuple[str, Settings, str]] = {
    "gpt2": ("gpt2", GPT, "sdpa"),
    "llama": ("llama", GROUPED, "sdpa"),
    "llama, plain attention": ("llama", GROUPED, "eager"),
    "opt, which counts the mask": ("opt", {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32}, "sdpa"),
    "mistral, a window": ("mistral", {**GROUPED, "sliding_window": 6}, "sdpa"),
    "gemma2, a window and caps": ("gemma2", {**GROUPED, "sliding_window": 6}, "eager"),
    "gpt_oss, sinks": ("gpt_oss", {**GROUPED, "sliding_window": 6, "num_local_experts": 4}, "eager"),
    "falcon, an attention of its own": ("falcon", {**SMALL, "multi_query": False}, "sdpa"),
    "bloom, slopes": ("bloom", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}, "eager"),
}
DOUBLE: dict[str, tuple[str, Settings]] = {
    "t5, two layers": ("t5", {**T5, "num_layers": 2, "decoder_start_token_id": 0}),
    "t5, three layers": ("t5", {**T5, "num_layers": 3, "decoder_start_token_id": 0}),
    "umt5, a bias in each layer": ("umt5", {**T5, "num_layers": 2}),
    "bart": ("bart", BART),
}


def network(model_type, options, implementation="sdpa"):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **options)
    auto: Any = transformers.AutoModelForCausalLM
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else auto
    made = auto.from_config(config, attn_implementation=implementation).eval()
    for parameter in made.requires_grad_(False).parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return made


def logits(model, inputs):
    with torch.no_grad():
        return model(**{k: torch.as_tensor(v) for k, v in inputs.items()}).logits.numpy()
