"""Small networks of images, sounds and several media, beside those of `tests.small_networks`."""

from tests.fresh.text import Table
from tests.small_networks import IMAGE, SMALL, WORDS, Options

EYE: Options = {**SMALL, **IMAGE, "num_labels": 3}
STAGES: Options = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 3}
SOUND: Options = {
    **SMALL,
    **WORDS,
    "conv_dim": [8, 8],
    "conv_stride": [2, 2],
    "conv_kernel": [3, 2],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 2,
    "do_stable_layer_norm": False,
    "classifier_proj_size": 8,
}
READING: Options = {**SMALL, **WORDS, "max_position_embeddings": 64}
PAIR: Options = {
    "text_config": {**READING, "projection_dim": 8},
    "vision_config": {**SMALL, **IMAGE, "projection_dim": 8},
    "projection_dim": 8,
}
IMAGES: Table = {
    "beit": ("BeitForImageClassification", EYE),
    "bit": (
        "BitForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_groups": 2, "num_labels": 3},
    ),
    "convnextv2": ("ConvNextV2ForImageClassification", {**STAGES, "num_stages": 2, "image_size": 16, "patch_size": 2}),
    "data2vec_vision": ("Data2VecVisionForImageClassification", EYE),
    "deit": ("DeiTForImageClassification", EYE),
    "dinov2": ("Dinov2ForImageClassification", EYE),
    "dinov2, with registers": ("Dinov2WithRegistersForImageClassification", EYE),
    "dinov3": ("DINOv3ViTModel", {**SMALL, **IMAGE}),
    "dpt": (
        "DPTForDepthEstimation",
        {
            **SMALL,
            **IMAGE,
            "backbone_out_indices": [0, 1],
            "reassemble_factors": [1, 1],
            "neck_hidden_sizes": [8, 8],
            "fusion_hidden_size": 8,
            "head_in_index": -1,
            "is_hybrid": False,
        },
    ),
    "focalnet": (
        "FocalNetForImageClassification",
        {
            "image_size": 16,
            "patch_size": 2,
            "embed_dim": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "focal_levels": [1, 1],
            "focal_windows": [3, 3],
            "num_labels": 3,
        },
    ),
    "hiera": (
        "HieraForImageClassification",
        {
            "embed_dim": 8,
            "image_size": [16, 16],
            "patch_size": [3, 3],
            "patch_stride": [2, 2],
            "patch_padding": [1, 1],
            "mlp_ratio": 2.0,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "embed_dim_multiplier": 2.0,
            "num_query_pool": 1,
            "query_stride": [2, 2],
            "masked_unit_size": [4, 4],
            "masked_unit_attention": [True, False],
            "num_labels": 3,
        },
    ),
    "ijepa": ("IJepaForImageClassification", EYE),
    "levit": (
        "LevitForImageClassification",
        {
            "image_size": 32,
            "hidden_sizes": [8, 8, 8],
            "num_attention_heads": [1, 1, 1],
            "depths": [1, 1, 1],
            "key_dim": [4, 4, 4],
            "mlp_ratio": [2, 2, 2],
            "attention_ratio": [2, 2, 2],
            "num_labels": 3,
        },
    ),
    "mobilenet_v1": (
        "MobileNetV1ForImageClassification",
        {"image_size": 32, "depth_multiplier": 0.25, "num_labels": 3},
    ),
    "mobilenet_v2": (
        "MobileNetV2ForImageClassification",
        {"image_size": 32, "depth_multiplier": 0.25, "num_labels": 3},
    ),
    "mobilevit": (
        "MobileViTForImageClassification",
        {
            "image_size": 32,
            "patch_size": 2,
            "hidden_sizes": [8, 8, 8],
            "neck_hidden_sizes": [4, 4, 8, 8, 8, 8, 16],
            "num_attention_heads": 2,
            "num_labels": 3,
        },
    ),
    "poolformer": (
        "PoolFormerForImageClassification",
        {
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "num_encoder_blocks": 2,
            "patch_sizes": [3, 3],
            "strides": [2, 2],
            "padding": [1, 1],
            "mlp_ratio": 2.0,
            "num_labels": 3,
        },
    ),
    "regnet": (
        "RegNetForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 4, "num_labels": 3},
    ),
    "segformer segmenting": (
        "SegformerForSemanticSegmentation",
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
            "num_labels": 3,
        },
    ),
    "swiftformer": (
        "SwiftFormerForImageClassification",
        {"image_size": 64, "depths": [1, 1], "embed_dims": [8, 16], "mlp_ratio": 2, "num_labels": 3},
    ),
    "swin": (
        "SwinForImageClassification",
        {
            "image_size": 16,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "window_size": 4,
            "num_labels": 3,
        },
    ),
    "swinv2": (
        "Swinv2ForImageClassification",
        {
            "image_size": 16,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "window_size": 4,
            "num_labels": 3,
        },
    ),
    "vit": ("ViTForImageClassification", EYE),
    "vit_msn": ("ViTMSNForImageClassification", EYE),
    "vitdet": ("VitDetModel", {**SMALL, "image_size": 8, "patch_size": 4, "pretrain_image_size": 8, "window_size": 0}),
    "yolos": (
        "YolosForObjectDetection",
        {**SMALL, "image_size": [16, 16], "patch_size": 4, "num_detection_tokens": 3, "num_labels": 3},
    ),
}
SOUNDS: Table = {
    "data2vec_audio": ("Data2VecAudioForCTC", {**SOUND, "conv_pos_kernel_size": 3}),
    "hubert": ("HubertForCTC", SOUND),
    "moonshine": (
        "MoonshineForConditionalGeneration",
        {
            "hidden_size": 16,
            "intermediate_size": 24,
            "encoder_num_hidden_layers": 2,
            "decoder_num_hidden_layers": 2,
            "encoder_num_attention_heads": 2,
            "decoder_num_attention_heads": 2,
            "initializer_range": 0.2,
            "decoder_start_token_id": 1,
            **WORDS,
        },
    ),
    "sew": ("SEWForCTC", {**SOUND, "squeeze_factor": 1}),
    "speech_to_text": (
        "Speech2TextForConditionalGeneration",
        {
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "input_feat_per_channel": 8,
            "num_conv_layers": 1,
            "conv_kernel_sizes": [3],
            "conv_channels": 16,
            "max_source_positions": 64,
            "max_target_positions": 64,
            "init_std": 0.2,
            "decoder_start_token_id": 1,
            **WORDS,
        },
    ),
    "unispeech": ("UniSpeechForCTC", {**SOUND, "num_ctc_classes": 40}),
    "unispeech_sat": ("UniSpeechSatForCTC", {**SOUND, "num_ctc_classes": 40}),
    "wav2vec2 classifying": ("Wav2Vec2ForSequenceClassification", {**SOUND, "num_labels": 3}),
    "wav2vec2_bert": (
        "Wav2Vec2BertForCTC",
        {**SMALL, **WORDS, "feature_projection_input_dim": 8, "conv_depthwise_kernel_size": 3, "add_adapter": False},
    ),
    "wavlm": ("WavLMForCTC", {**SOUND, "num_buckets": 8, "max_bucket_distance": 16}),
}
SEVERAL: Table = {
    "altclip": ("AltCLIPModel", {**PAIR, "text_config": {**READING, "project_dim": 8}}),
    "chinese_clip": ("ChineseCLIPModel", PAIR),
    "clip": ("CLIPModel", PAIR),
    "clip, text alone": ("CLIPTextModelWithProjection", {**READING, "projection_dim": 8}),
    "clip classifying": ("CLIPForImageClassification", {**PAIR, "num_labels": 3}),
    "git": ("GitForCausalLM", {**READING, "vision_config": {**SMALL, **IMAGE}}),
    "siglip classifying": (
        "SiglipForImageClassification",
        {"text_config": {**READING, "projection_size": 16}, "vision_config": {**SMALL, **IMAGE}, "num_labels": 3},
    ),
    "vilt": ("ViltForQuestionAnswering", {**READING, **IMAGE, "num_labels": 3}),
    "vision_text": (
        "VisionTextDualEncoderModel",
        {
            "vision_config": {"model_type": "vit", **SMALL, **IMAGE},
            "text_config": {"model_type": "bert", **READING},
            "projection_dim": 8,
        },
    ),
    "vision_text of clip": (
        "VisionTextDualEncoderModel",
        {
            "vision_config": {"model_type": "clip_vision_model", **SMALL, **IMAGE},
            "text_config": {"model_type": "roberta", **READING},
            "projection_dim": 8,
        },
    ),
}
PAIRS: Table = {
    "bert to bert": (
        "EncoderDecoderModel",
        {
            "encoder": {"model_type": "bert", **READING},
            "decoder": {"model_type": "bert", **READING, "is_decoder": True, "add_cross_attention": True},
        },
    ),
    "bert to gpt2": (
        "EncoderDecoderModel",
        {
            "encoder": {"model_type": "bert", **READING},
            "decoder": {
                "model_type": "gpt2",
                "n_embd": 16,
                "n_layer": 2,
                "n_head": 2,
                "n_positions": 64,
                "initializer_range": 0.2,
                **WORDS,
                "add_cross_attention": True,
            },
        },
    ),
    "roberta to roberta": (
        "EncoderDecoderModel",
        {
            "encoder": {"model_type": "roberta", **READING},
            "decoder": {"model_type": "roberta", **READING, "is_decoder": True, "add_cross_attention": True},
        },
    ),
    "vit to bert": (
        "VisionEncoderDecoderModel",
        {
            "encoder": {"model_type": "vit", **SMALL, **IMAGE},
            "decoder": {"model_type": "bert", **READING, "is_decoder": True, "add_cross_attention": True},
        },
    ),
    "vit to gpt2": (
        "VisionEncoderDecoderModel",
        {
            "encoder": {"model_type": "vit", **SMALL, **IMAGE},
            "decoder": {
                "model_type": "gpt2",
                "n_embd": 16,
                "n_layer": 2,
                "n_head": 2,
                "n_positions": 64,
                "initializer_range": 0.2,
                **WORDS,
                "add_cross_attention": True,
            },
        },
    ),
    "swin to bart": (
        "VisionEncoderDecoderModel",
        {
            "encoder": {
                "model_type": "swin",
                "image_size": 16,
                "patch_size": 2,
                "embed_dim": 8,
                "depths": [1, 1],
                "num_heads": [1, 2],
                "window_size": 4,
            },
            "decoder": {
                "model_type": "bart",
                "d_model": 16,
                "decoder_layers": 2,
                "decoder_attention_heads": 2,
                "decoder_ffn_dim": 24,
                "init_std": 0.2,
                "max_position_embeddings": 64,
                **WORDS,
                "is_decoder": True,
                "add_cross_attention": True,
                "is_encoder_decoder": False,
            },
        },
    ),
    "wav2vec2 to bert": (
        "SpeechEncoderDecoderModel",
        {
            "encoder": {"model_type": "wav2vec2", **SOUND},
            "decoder": {"model_type": "bert", **READING, "is_decoder": True, "add_cross_attention": True},
        },
    ),
}
