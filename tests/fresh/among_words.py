"""Small networks that read images, videos and sounds among words, or hear."""

from tests.fresh.text import Table
from tests.small_networks import CLIP_EYE, DECODER, HEADS, IMAGE, NETWORKS, SIGLIP_EYE, SMALL, WORDS, Options

READING: Options = {**SMALL, **WORDS, "max_position_embeddings": 64}
LLAMA: Options = {"model_type": "llama", **DECODER}
QWEN: Options = {"model_type": "qwen2", **DECODER}
HEARING: Options = {
    "hidden_size": 16,
    "d_model": 16,
    "num_hidden_layers": 2,
    "encoder_layers": 2,
    "num_attention_heads": 2,
    "encoder_attention_heads": 2,
    "intermediate_size": 64,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 8,
    "max_source_positions": 8,
    "initializer_range": 0.2,
}
SAM_EYE: Options = {
    **SMALL,
    "image_size": 64,
    "patch_size": 16,
    "output_channels": 16,
    "mlp_dim": 24,
    "window_size": 2,
    "global_attn_indexes": [1],
    "num_pos_feats": 8,
}
PALIGEMMA, QWEN2_VL = NETWORKS["paligemma"][1], NETWORKS["qwen2_vl"][1]
AMONG_WORDS: Table = {
    "aya_vision": (
        "AyaVisionForConditionalGeneration",
        {
            "text_config": {"model_type": "cohere2", **DECODER, **HEADS, "layer_types": ["full_attention"] * 2},
            "vision_config": {**SIGLIP_EYE, "vision_use_head": False},
            "image_token_index": 30,
        },
    ),
    "fuyu": (
        "FuyuForCausalLM",
        {
            "image_size": 8,
            "patch_size": 4,
            "num_channels": 3,
            "image_token_id": 30,
            "text_config": {"model_type": "persimmon", **SMALL, **WORDS},
        },
    ),
    "idefics2": (
        "Idefics2ForConditionalGeneration",
        {
            "text_config": {"model_type": "mistral", **DECODER},
            "vision_config": {**SMALL, **IMAGE},
            "perceiver_config": {
                "hidden_size": 16,
                "resampler_n_latents": 3,
                "resampler_depth": 2,
                "resampler_n_heads": 2,
                "resampler_head_dim": 8,
                "num_key_value_heads": 1,
            },
            "image_token_id": 30,
        },
    ),
    "idefics3": (
        "Idefics3ForConditionalGeneration",
        {
            "text_config": LLAMA,
            "vision_config": {**SMALL, "image_size": 16, "patch_size": 4},
            "scale_factor": 2,
            "image_token_id": 30,
        },
    ),
    "lfm2_vl": (
        "Lfm2VlForConditionalGeneration",
        {
            "text_config": {"model_type": "lfm2", **DECODER, "layer_types": ["conv", "full_attention"]},
            "vision_config": {
                "model_type": "siglip2_vision_model",
                **SMALL,
                "patch_size": 4,
                "num_patches": 16,
                "vision_use_head": False,
            },
            "image_token_id": 30,
            "projector_hidden_size": 16,
            "downsample_factor": 2,
        },
    ),
    "llava_next_video": (
        "LlavaNextVideoForConditionalGeneration",
        {
            "text_config": LLAMA,
            "vision_config": CLIP_EYE,
            "image_token_index": 30,
            "video_token_index": 29,
            "image_grid_pinpoints": [[16, 16]],
        },
    ),
    "llava_onevision": (
        "LlavaOnevisionForConditionalGeneration",
        {
            "text_config": QWEN,
            "vision_config": SIGLIP_EYE,
            "image_token_id": 30,
            "video_token_id": 29,
            "image_grid_pinpoints": [[8, 8], [16, 16]],
        },
    ),
    "llava, a deeper eye": (  # its last layer is never used, and is one of four here
        "LlavaForConditionalGeneration",
        {"text_config": LLAMA, "vision_config": {**CLIP_EYE, "num_hidden_layers": 4}, "image_token_index": 30},
    ),
    "mistral3": (
        "Mistral3ForConditionalGeneration",
        {
            "text_config": {"model_type": "mistral", **DECODER, **HEADS},
            "vision_config": {"model_type": "pixtral", **SMALL, **HEADS, "image_size": 64, "patch_size": 4},
            "image_token_id": 30,
            "spatial_merge_size": 2,
        },
    ),
    "smolvlm": (
        "SmolVLMForConditionalGeneration",
        {
            "text_config": LLAMA,
            "vision_config": {**SMALL, "image_size": 16, "patch_size": 4},
            "scale_factor": 2,
            "image_token_id": 30,
        },
    ),
    "video_llava": (
        "VideoLlavaForConditionalGeneration",
        {
            "text_config": LLAMA,
            "vision_config": CLIP_EYE,
            "image_token_index": 30,
            "video_token_index": 29,
            "video_seq_length": 40,
        },
    ),
    "vipllava": (
        "VipLlavaForConditionalGeneration",
        {"text_config": LLAMA, "vision_config": CLIP_EYE, "image_token_index": 30, "vision_feature_layers": [-1, -2]},
    ),
    "colpali": ("ColPaliForRetrieval", {"vlm_config": {"model_type": "paligemma", **PALIGEMMA}, "embedding_dim": 8}),
    "colqwen2": ("ColQwen2ForRetrieval", {"vlm_config": {"model_type": "qwen2_vl", **QWEN2_VL}, "embedding_dim": 8}),
    "deepseek_vl": (
        "DeepseekVLForConditionalGeneration",
        {"text_config": LLAMA, "vision_config": SIGLIP_EYE, "image_token_id": 30},
    ),
    "got_ocr2": (
        "GotOcr2ForConditionalGeneration",
        {"text_config": QWEN, "vision_config": SAM_EYE, "image_token_id": 30, "image_token_index": 30},
    ),
    "instructblip": (
        "InstructBlipForConditionalGeneration",
        {
            "vision_config": {**SMALL, **IMAGE},
            "qformer_config": {**READING, "cross_attention_frequency": 2, "encoder_hidden_size": 16},
            "text_config": NETWORKS["blip_2"][1]["text_config"],
            "num_query_tokens": 4,
            "image_token_index": 30,
        },
    ),
    "pix2struct": (
        "Pix2StructForConditionalGeneration",
        {
            "text_config": {
                **WORDS,
                "hidden_size": 16,
                "d_kv": 8,
                "d_ff": 24,
                "num_layers": 2,
                "num_heads": 2,
                "decoder_start_token_id": 0,
            },
            "vision_config": {
                "hidden_size": 16,
                "patch_embed_hidden_size": 48,
                "patch_size": 4,
                "d_ff": 24,
                "d_kv": 8,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "seq_len": 64,
            },
        },
    ),
}
HEARD: Table = {
    "audioflamingo3": (
        "AudioFlamingo3ForConditionalGeneration",
        {
            "audio_config": {"model_type": "audioflamingo3_encoder", **HEARING},
            "text_config": QWEN,
            "audio_token_id": 30,
        },
    ),
    "clap": (
        "ClapModel",
        {
            "text_config": {**READING, "projection_dim": 8},
            "audio_config": {
                "spec_size": 32,
                "num_mel_bins": 16,
                "patch_size": 4,
                "patch_stride": [4, 4],
                "window_size": 4,
                "patch_embeds_hidden_size": 8,
                "hidden_size": 16,
                "depths": [1, 1],
                "num_attention_heads": [1, 2],
                "num_hidden_layers": 2,
                "enable_fusion": False,
                "projection_dim": 8,
            },
            "projection_dim": 8,
        },
    ),
    "granite_speech": (
        "GraniteSpeechForConditionalGeneration",
        {
            "text_config": {"model_type": "granite", **DECODER},
            "encoder_config": {
                "input_dim": 8,
                "num_layers": 2,
                "hidden_dim": 16,
                "feedforward_mult": 2,
                "num_heads": 2,
                "dim_head": 8,
                "output_dim": 12,
                "context_size": 8,
                "max_pos_emb": 16,
                "conv_kernel_size": 3,
                "conv_expansion_factor": 2,
            },
            "projector_config": {
                "model_type": "blip_2_qformer",
                **SMALL,
                "cross_attention_frequency": 1,
                "encoder_hidden_size": 16,
            },
            "audio_token_index": 30,
            "window_size": 8,
            "downsample_rate": 2,
            "has_lora_adapter": False,
        },
    ),
    "parakeet": (
        "ParakeetForCTC",
        {
            "vocab_size": 40,
            "pad_token_id": 0,
            "encoder_config": {
                **SMALL,
                "num_mel_bins": 16,
                "subsampling_factor": 4,
                "subsampling_conv_channels": 8,
                "conv_kernel_size": 3,
                "max_position_embeddings": 64,
            },
        },
    ),
    "qwen2_audio": (
        "Qwen2AudioForConditionalGeneration",
        {
            "audio_config": {"model_type": "qwen2_audio_encoder", **HEARING},
            "text_config": QWEN,
            "audio_token_index": 30,
        },
    ),
    "speecht5": (
        "SpeechT5ForSpeechToText",
        {
            **WORDS,
            "hidden_size": 16,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "conv_dim": [8, 8],
            "conv_stride": [2, 2],
            "conv_kernel": [3, 2],
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "num_feat_extract_layers": 2,
            "initializer_range": 0.2,
        },
    ),
    "voxtral": (
        "VoxtralForConditionalGeneration",
        {
            "audio_config": {"model_type": "voxtral_encoder", **HEARING, "encoder_ffn_dim": 64},
            "text_config": LLAMA,
            "audio_token_id": 30,
        },
    ),
    "glmasr": (
        "GlmAsrForConditionalGeneration",
        {
            "audio_config": {"model_type": "glmasr_encoder", **HEARING, **HEADS, "num_key_value_heads": 2},
            "text_config": LLAMA,
            "audio_token_id": 30,
        },
    ),
}
