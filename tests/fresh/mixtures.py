"""Small networks of text that mix experts, state spaces and bottlenecks: class and options by name."""

from tests.fresh.text import PLACES, TIED, UNTIED, Table
from tests.small_networks import DECODER, HEADS, SMALL, WORDS

MIXTURES: Table = {
    "ernie4_5_moe": (
        "Ernie4_5_MoeForCausalLM",
        {
            **TIED,
            "moe_intermediate_size": 12,
            "moe_k": 2,
            "moe_num_experts": 4,
            "moe_num_shared_experts": 1,
            "moe_layer_start_index": 1,
        },
    ),
    "flaubert": (
        "FlaubertWithLMHeadModel",
        {
            "vocab_size": 40,
            "emb_dim": 16,
            "n_layers": 2,
            "n_heads": 2,
            "max_position_embeddings": 64,
            "init_std": 0.2,
            "embed_init_std": 0.2,
        },
    ),
    "hunyuan_v1_moe": ("HunYuanMoEV1ForCausalLM", {**UNTIED, **HEADS, "num_experts": 4, "moe_topk": 2}),
    "jamba": (
        "JambaForCausalLM",
        {
            **DECODER,
            "num_experts": 2,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "use_mamba_kernels": False,
            "mamba_d_state": 4,
            "mamba_dt_rank": 4,
        },
    ),
    "longcat_flash": (
        "LongcatFlashForCausalLM",
        {
            **{key: value for key, value in SMALL.items() if key not in {"num_hidden_layers", "intermediate_size"}},
            **WORDS,
            "num_layers": 1,
            "ffn_hidden_size": 24,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 4,
            "head_dim": 4,
            "v_head_dim": 8,
            "moe_topk": 2,
            "n_routed_experts": 4,
            "zero_expert_num": 2,
            "expert_ffn_hidden_size": 12,
            "routed_scaling_factor": 1.0,
        },
    ),
    "mobilebert": (
        "MobileBertForMaskedLM",
        {**PLACES, "hidden_size": 24, "embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 2},
    ),
    "nemotron_h": (
        "NemotronHForCausalLM",
        {
            **{key: value for key, value in DECODER.items() if key != "num_hidden_layers"},
            **HEADS,
            "layers_block_type": ["mamba", "moe", "attention"],
            "ssm_state_size": 4,
            "mamba_num_heads": 4,
            "mamba_head_dim": 8,
            "n_groups": 2,
            "chunk_size": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "moe_shared_expert_intermediate_size": 12,
        },
    ),
    "olmo_hybrid": (
        "OlmoHybridForCausalLM",
        {
            **UNTIED,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
}
