"""Small networks of many architectures, with random numbers everywhere, made in milliseconds.

network = small_networks.made("mixtral")
network.save_pretrained(folder)
"""

import warnings
from contextlib import contextmanager
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
transformers = pytest.importorskip("transformers", reason="needs transformers")

Options = dict[str, Any]
SMALL: Options = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.2,
}
WORDS: Options = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
IMAGE: Options = {"image_size": 8, "patch_size": 4}
DECODER: Options = {**SMALL, **WORDS, "num_key_value_heads": 1}
HEADS = {"head_dim": 8}
FALCON: Options = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
    **WORDS,
}
T5: Options = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "vocab_size": 40,
    "decoder_start_token_id": 0,
    "eos_token_id": 2,
}
BLIP: Options = {
    "text_config": {
        **SMALL,
        **WORDS,
        "projection_dim": 8,
        "encoder_hidden_size": 16,
        "sep_token_id": 2,
        "max_position_embeddings": 16,
        "hidden_act": "gelu",
    },
    "vision_config": {**SMALL, **IMAGE, "projection_dim": 8},
    "projection_dim": 8,
    "image_text_hidden_size": 8,
}
WHISPER: Options = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "decoder_start_token_id": 1,
    "num_mel_bins": 8,
    "max_source_positions": 8,
    "max_target_positions": 16,
    "init_std": 0.2,
    **WORDS,
}
QWEN_VL: Options = {
    "text_config": {
        **DECODER,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    },
    "image_token_id": 30,
    "video_token_id": 29,
    "vision_start_token_id": 28,
    "vision_end_token_id": 27,
}
EYE: Options = {
    "depth": 2,
    "num_heads": 2,
    "patch_size": 4,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
    "hidden_size": 16,
    "initializer_range": 0.2,
}
CLIP_EYE: Options = {"model_type": "clip_vision_model", **SMALL, **IMAGE, "projection_dim": 8}
SIGLIP_EYE: Options = {"model_type": "siglip_vision_model", **SMALL, **IMAGE, "projection_dim": 16}
EXPERTS: Options = {"num_experts": 3, "num_experts_per_tok": 2}
LATENT: Options = {
    **SMALL,
    **WORDS,
    "num_key_value_heads": 2,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "n_group": 2,
    "topk_group": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
}
NETWORKS: dict[str, tuple[str, Options]] = {
    "ast": (
        "ASTForAudioClassification",
        {**SMALL, "patch_size": 4, "max_length": 16, "num_mel_bins": 16, "frequency_stride": 4, "time_stride": 4},
    ),
    "blip": ("BlipModel", BLIP),
    "blip answering": ("BlipForQuestionAnswering", BLIP),
    "blip captioning": ("BlipForConditionalGeneration", BLIP),
    "blip matching": ("BlipForImageTextRetrieval", BLIP),
    "blip_2": (
        "Blip2ForConditionalGeneration",
        {
            "vision_config": {**SMALL, **IMAGE},
            "qformer_config": {**SMALL, **WORDS, "cross_attention_frequency": 2, "encoder_hidden_size": 16},
            "text_config": {
                "model_type": "opt",
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "ffn_dim": 24,
                "word_embed_proj_dim": 16,
                "max_position_embeddings": 32,
                "init_std": 0.2,
                **WORDS,
            },
            "num_query_tokens": 4,
            "image_token_index": 30,
        },
    ),
    "bloom": ("BloomForCausalLM", {"hidden_size": 16, "n_layer": 2, "n_head": 2, **WORDS}),
    "cohere": ("CohereForCausalLM", DECODER),
    "convnext": (
        "ConvNextForImageClassification",
        {
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "num_stages": 2,
            "num_labels": 3,
            "image_size": 16,
            "patch_size": 2,
        },
    ),
    "deepseek_v2": ("DeepseekV2ForCausalLM", {**LATENT, "topk_method": "greedy"}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", LATENT),
    "falcon": ("FalconForCausalLM", FALCON),
    "falcon, many heads": ("FalconForCausalLM", {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 1}),
    "gemma": ("GemmaForCausalLM", {**DECODER, **HEADS}),
    "gemma2": ("Gemma2ForCausalLM", {**DECODER, **HEADS}),
    "gemma3": ("Gemma3ForCausalLM", {**DECODER, **HEADS}),
    "gemma3 vision": (
        "Gemma3ForConditionalGeneration",
        {
            "text_config": {**DECODER, **HEADS},
            "vision_config": SIGLIP_EYE,
            "mm_tokens_per_image": 4,
            "image_token_index": 30,
        },
    ),
    "glm4": ("Glm4ForCausalLM", {**DECODER, **HEADS}),
    "gpt_neox": ("GPTNeoXForCausalLM", {**SMALL, **WORDS}),
    "gpt_oss": ("GptOssForCausalLM", {**DECODER, **HEADS, "num_local_experts": 3, "num_experts_per_tok": 2}),
    "gptj": (
        "GPTJForCausalLM",
        {"n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4, "initializer_range": 0.2, **WORDS},
    ),
    "granitemoe": ("GraniteMoeForCausalLM", {**DECODER, "num_local_experts": 3, "num_experts_per_tok": 2}),
    "idefics": (
        "IdeficsForVisionText2Text",
        {
            **SMALL,
            **WORDS,
            "additional_vocab_size": 0,
            "cross_layer_interval": 1,
            "use_resampler": False,
            "alpha_initializer": "ones",
            "vision_config": {
                "embed_dim": 16,
                "image_size": 8,
                "patch_size": 4,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 24,
                "initializer_range": 0.2,
            },
        },
    ),
    "internvl": (
        "InternVLForConditionalGeneration",
        {
            "text_config": {"model_type": "qwen2", **DECODER},
            "vision_config": {"model_type": "internvl_vision", **SMALL, "image_size": [8, 8], "patch_size": [4, 4]},
            "image_token_id": 30,
        },
    ),
    "llava": (
        "LlavaForConditionalGeneration",
        {"text_config": {"model_type": "llama", **SMALL, **WORDS}, "vision_config": CLIP_EYE, "image_token_index": 30},
    ),
    "llava_next": (
        "LlavaNextForConditionalGeneration",
        {
            "text_config": {"model_type": "llama", **SMALL, **WORDS},
            "vision_config": CLIP_EYE,
            "image_token_index": 30,
            "image_grid_pinpoints": [[16, 16]],
        },
    ),
    "longt5": ("LongT5ForConditionalGeneration", {**T5, "local_radius": 4}),
    "mixtral": ("MixtralForCausalLM", {**DECODER, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "mllama": (
        "MllamaForConditionalGeneration",
        {
            "text_config": {
                **DECODER,
                "num_hidden_layers": 3,
                "cross_attention_layers": [1],
                "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            },
            "vision_config": {
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "num_global_layers": 1,
                "attention_heads": 2,
                "intermediate_size": 24,
                "image_size": 8,
                "patch_size": 4,
                "max_num_tiles": 2,
                "vision_output_dim": 32,
                "intermediate_layers_indices": [1],
                "supported_aspect_ratios": [[1, 1], [1, 2]],
                "initializer_range": 0.2,
            },
            "image_token_index": 30,
        },
    ),
    "mt5": ("MT5ForConditionalGeneration", T5),
    "olmo2": ("Olmo2ForCausalLM", {**SMALL, **WORDS}),
    "olmoe": ("OlmoeForCausalLM", {**SMALL, **WORDS, **EXPERTS}),
    "paligemma": (
        "PaliGemmaForConditionalGeneration",
        {
            "text_config": {"model_type": "gemma", **DECODER, **HEADS},
            "vision_config": SIGLIP_EYE,
            "image_token_index": 30,
            "projection_dim": 16,
        },
    ),
    "phi": ("PhiForCausalLM", {**SMALL, **WORDS}),
    "phi3": ("Phi3ForCausalLM", DECODER),
    "phimoe": ("PhimoeForCausalLM", {**DECODER, "num_local_experts": 3}),
    "qwen2_5_vl": (
        "Qwen2_5_VLForConditionalGeneration",
        {
            **QWEN_VL,
            "vision_config": {
                **EYE,
                "out_hidden_size": 16,
                "intermediate_size": 24,
                "window_size": 16,
                "fullatt_block_indexes": [1],
            },
        },
    ),
    "qwen2_moe": (
        "Qwen2MoeForCausalLM",
        {**DECODER, **EXPERTS, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 12},
    ),
    "qwen2_vl": (
        "Qwen2VLForConditionalGeneration",
        {**QWEN_VL, "vision_config": {**EYE, "embed_dim": 16, "mlp_ratio": 2}},
    ),
    "roberta": ("RobertaForMaskedLM", {**SMALL, **WORDS, "max_position_embeddings": 32}),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        {**DECODER, **HEADS, **EXPERTS, "moe_intermediate_size": 20, "mlp_only_layers": [1]},
    ),
    "qwen3_vl": (
        "Qwen3VLForConditionalGeneration",
        {
            **QWEN_VL,
            "text_config": {**QWEN_VL["text_config"], **HEADS},
            "vision_config": {
                **EYE,
                "out_hidden_size": 16,
                "intermediate_size": 24,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0],
            },
        },
    ),
    "resnet": (
        "ResNetForImageClassification",
        {"embedding_size": 4, "hidden_sizes": [8, 16], "depths": [1, 2], "num_labels": 3},
    ),
    "segformer": (
        "SegformerForImageClassification",
        {
            "num_encoder_blocks": 2,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "sr_ratios": [2, 1],
            "num_attention_heads": [1, 2],
            "patch_sizes": [3, 3],
            "strides": [2, 2],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 8,
        },
    ),
    "siglip": (
        "SiglipModel",
        {
            "text_config": {**SMALL, **WORDS, "max_position_embeddings": 16, "projection_size": 16},
            "vision_config": {**SMALL, **IMAGE},
        },
    ),
    "starcoder2": ("Starcoder2ForCausalLM", DECODER),
    "t5": ("T5ForConditionalGeneration", T5),
    "t5 classifying": ("T5ForSequenceClassification", {**T5, "num_labels": 3}),
    "t5, gated": (
        "T5ForConditionalGeneration",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "umt5": ("UMT5ForConditionalGeneration", T5),
    "wav2vec2": (
        "Wav2Vec2ForCTC",
        {
            **SMALL,
            **WORDS,
            "conv_dim": [8, 8],
            "conv_stride": [2, 2],
            "conv_kernel": [3, 2],
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "num_feat_extract_layers": 2,
        },
    ),
    "whisper": ("WhisperForConditionalGeneration", WHISPER),
    "whisper classifying": ("WhisperForAudioClassification", {**WHISPER, "num_labels": 3}),
}


def class_of(name):
    """Give a network's class."""
    return getattr(transformers, NETWORKS[name][0])


def made(name, *, seed=0):
    """Make a network; no vector and no running statistic of it is at its default."""
    torch.manual_seed(seed)
    return off_defaults(class_of(name)(class_of(name).config_class(**NETWORKS[name][1])).eval())


def off_defaults(network):
    """Move every vector and running statistic away from where it starts, so that each counts."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for path, buffer in network.named_buffers():
            if path.endswith("running_mean"):
                buffer.normal_()
            elif path.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return network


@contextmanager
def quiet():
    """Keep the libraries from warning of what is wanted here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        yield
