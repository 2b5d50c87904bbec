"""Small networks whose inputs are more than words: videos, series, decisions, prompts of images, entities."""

from tests.fresh.among_words import READING, SAM_EYE
from tests.fresh.text import Table
from tests.small_networks import HEADS, IMAGE, SMALL, WORDS, Options

FORECAST: Options = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "prediction_length": 4,
    "context_length": 8,
    "lags_sequence": [1, 2],
    "num_time_features": 2,
    "num_static_categorical_features": 1,
    "cardinality": [5],
    "embedding_dimension": [4],
    "num_static_real_features": 1,
    "init_std": 0.2,
}
PATCHED_SERIES: Options = {
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
}
SEEN: Table = {
    "flava": (
        "FlavaModel",
        {
            "text_config": READING,
            "image_config": {**SMALL, **IMAGE},
            "multimodal_config": SMALL,
            "projection_dim": 8,
            "hidden_size": 16,
        },
    ),
    "owlvit": (
        "OwlViTForObjectDetection",
        {"text_config": READING, "vision_config": {**SMALL, **IMAGE}, "projection_dim": 16},
    ),
    "sam": (
        "SamModel",
        {
            "vision_config": SAM_EYE,
            "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
            "mask_decoder_config": {
                "hidden_size": 16,
                "mlp_dim": 24,
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "iou_head_hidden_dim": 16,
            },
        },
    ),
    "siglip2": (
        "Siglip2Model",
        {
            "text_config": {**READING, "projection_size": 16},
            "vision_config": {**SMALL, "patch_size": 4, "num_patches": 16},
        },
    ),
}
MOVING: Table = {
    "timesformer": ("TimesformerForVideoClassification", {**SMALL, **IMAGE, "num_frames": 2, "num_labels": 3}),
    "videomae": (
        "VideoMAEForVideoClassification",
        {**SMALL, **IMAGE, "num_frames": 4, "tubelet_size": 2, "num_labels": 3},
    ),
    "vivit": (
        "VivitForVideoClassification",
        {**SMALL, "image_size": 8, "num_frames": 4, "tubelet_size": [2, 4, 4], "num_labels": 3},
    ),
    "vjepa2": (
        "VJEPA2ForVideoClassification",
        {
            **SMALL,
            "patch_size": 4,
            "crop_size": 8,
            "frames_per_clip": 4,
            "tubelet_size": 2,
            "pred_hidden_size": 12,
            "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
            "num_pooler_layers": 1,
            "num_labels": 3,
        },
    ),
    "xclip": (
        "XCLIPModel",
        {
            "text_config": {**READING, "projection_dim": 8},
            "vision_config": {
                **SMALL,
                **IMAGE,
                "num_frames": 2,
                "mit_hidden_size": 8,
                "mit_intermediate_size": 24,
                "mit_num_hidden_layers": 1,
                "mit_num_attention_heads": 2,
                "projection_dim": 8,
            },
            "projection_dim": 8,
            "prompt_layers": 1,
            "prompt_num_attention_heads": 2,
        },
    ),
}
IN_TIME: Table = {
    "autoformer": ("AutoformerForPrediction", {**FORECAST, "label_length": 4, "moving_average": 3}),
    "decision_transformer": (
        "DecisionTransformerModel",
        {
            "state_dim": 5,
            "act_dim": 3,
            "hidden_size": 16,
            "max_ep_len": 32,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": 64,
            "vocab_size": 1,
            "initializer_range": 0.2,
        },
    ),
    "informer": ("InformerForPrediction", {**FORECAST, "attention_type": "full"}),
    "patchtsmixer": ("PatchTSMixerForPrediction", {**PATCHED_SERIES, "num_layers": 2, "expansion_factor": 2}),
    "patchtst": ("PatchTSTForPrediction", PATCHED_SERIES),
    "time_series_transformer": ("TimeSeriesTransformerForPrediction", FORECAST),
    "timesfm": (
        "TimesFmModelForPrediction",
        {**SMALL, **HEADS, "patch_length": 4, "context_length": 16, "horizon_length": 4, "quantiles": [0.2, 0.8]},
    ),
}
BESIDE_WORDS: Table = {
    "bigbird_pegasus": (
        "BigBirdPegasusForConditionalGeneration",
        {
            **WORDS,
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "max_position_embeddings": 64,
            "attention_type": "original_full",
            "decoder_start_token_id": 2,
            "init_std": 0.2,
        },
    ),
    "canine": (
        "CanineForTokenClassification",
        {
            **SMALL,
            "max_position_embeddings": 64,
            "num_hash_functions": 4,
            "num_hash_buckets": 16,
            "local_transformer_stride": 4,
            "num_labels": 3,
        },
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
    ),
    "layoutlm": ("LayoutLMForTokenClassification", {**READING, "max_2d_position_embeddings": 32, "num_labels": 3}),
    "layoutlmv3": (
        "LayoutLMv3ForTokenClassification",
        {
            **READING,
            "max_2d_position_embeddings": 32,
            "coordinate_size": 2,
            "shape_size": 4,
            "input_size": 8,
            "patch_size": 4,
            "rel_pos_bins": 8,
            "max_rel_pos": 16,
            "rel_2d_pos_bins": 8,
            "max_rel_2d_pos": 16,
            "num_labels": 3,
        },
    ),
    "led": (
        "LEDForConditionalGeneration",
        {
            **WORDS,
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "max_encoder_position_embeddings": 64,
            "max_decoder_position_embeddings": 64,
            "attention_window": [4, 4],
            "decoder_start_token_id": 2,
            "init_std": 0.2,
        },
    ),
    "lilt": (
        "LiltForTokenClassification",
        {**READING, "hidden_size": 24, "max_2d_position_embeddings": 32, "channel_shrink_ratio": 2, "num_labels": 3},
    ),
    "longformer": ("LongformerForSequenceClassification", {**READING, "attention_window": [4, 4], "num_labels": 3}),
    "luke": ("LukeForMaskedLM", {**READING, "entity_vocab_size": 12, "entity_emb_size": 8}),
    "luke naming": ("LukeForEntitySpanClassification", {**READING, "entity_vocab_size": 12, "num_labels": 3}),
    "lxmert": (
        "LxmertForQuestionAnswering",
        {**READING, "l_layers": 1, "x_layers": 2, "r_layers": 1, "visual_feat_dim": 8, "num_qa_labels": 4},
    ),
    "roberta choosing": ("RobertaForMultipleChoice", READING),
    "roc_bert": (
        "RoCBertForMaskedLM",
        {
            **READING,
            "pronunciation_vocab_size": 10,
            "shape_vocab_size": 10,
            "pronunciation_embed_dim": 8,
            "shape_embed_dim": 8,
        },
    ),
    "visual_bert": ("VisualBertForPreTraining", {**READING, "visual_embedding_dim": 8}),
    "xlnet": (
        "XLNetLMHeadModel",
        {**WORDS, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "initializer_range": 0.2},
    ),
    "tapas": ("TapasForQuestionAnswering", READING),
    "markuplm": ("MarkupLMForTokenClassification", {**READING, "num_labels": 3}),
}
