"""Models of diffusers, made small: by class, the config that keeps every sort of its layers."""

_UNET = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "in_channels": 4,
    "out_channels": 4,
}
_CROSS = {
    **_UNET,
    "cross_attention_dim": 16,
    "attention_head_dim": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
_HEADS = {"num_attention_heads": 2, "attention_head_dim": 8}
_FLUX = {
    **_HEADS,
    "in_channels": 4,
    "num_layers": 1,
    "num_single_layers": 1,
    "joint_attention_dim": 16,
    "axes_dims_rope": (2, 2, 4),
}
TINY: dict[str, dict] = {
    "UNet2DConditionModel": _CROSS,
    "UNet2DConditionModel sdxl": {
        **_CROSS,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 32,
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
    },
    "UNet2DConditionModel text_proj": {**_CROSS, "encoder_hid_dim": 12, "encoder_hid_dim_type": "text_proj"},
    "UNet2DConditionModel labels": {**_CROSS, "num_class_embeds": 5},
    "UNet2DModel": {
        **_UNET,
        "sample_size": 16,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 8,
    },
    "UNet3DConditionModel": {
        **_UNET,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "cross_attention_dim": 16,
        "attention_head_dim": 8,
        "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
        "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    },
    "UNetSpatioTemporalConditionModel": {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "in_channels": 8,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        "cross_attention_dim": 32,
        "num_attention_heads": 8,
        "addition_time_embed_dim": 32,
        "projection_class_embeddings_input_dim": 96,
    },
    "ControlNetModel": {
        **{k: v for k, v in _CROSS.items() if k not in {"out_channels", "up_block_types"}},
        "conditioning_embedding_out_channels": (16, 32),
    },
    "AutoencoderKL": {
        **_UNET,
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    },
    "FluxTransformer2DModel": {**_FLUX, "pooled_projection_dim": 16, "guidance_embeds": True},
    "Flux2Transformer2DModel": {**_FLUX, "axes_dims_rope": (2, 2, 2, 2), "timestep_guidance_channels": 16},
    "ChromaTransformer2DModel": {
        **_FLUX,
        "approximator_num_channels": 16,
        "approximator_hidden_dim": 16,
        "approximator_layers": 1,
    },
    "LongCatImageTransformer2DModel": {**_FLUX, "pooled_projection_dim": 16},
    "QwenImageTransformer2DModel": {
        **_HEADS,
        "in_channels": 16,
        "out_channels": 4,
        "num_layers": 1,
        "joint_attention_dim": 16,
        "axes_dims_rope": (2, 2, 4),
    },
    "ZImageTransformer2DModel": {
        "in_channels": 4,
        "dim": 32,
        "n_layers": 1,
        "n_refiner_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
        "cap_feat_dim": 16,
        "axes_dims": [4, 6, 6],
        "axes_lens": [256, 32, 32],
    },
    "SD3Transformer2DModel": {
        **_HEADS,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 2,
        "joint_attention_dim": 16,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 16,
        "sample_size": 16,
        "pos_embed_max_size": 16,
        "dual_attention_layers": (0,),
        "qk_norm": "rms_norm",
    },
    "PixArtTransformer2DModel": {
        **_HEADS,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": 1,
        "cross_attention_dim": 16,
        "caption_channels": 12,
        "sample_size": 16,
        "norm_num_groups": 4,
    },
    "PixArtTransformer2DModel sizes": {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": 1,
        "cross_attention_dim": 24,
        "caption_channels": 12,
        "sample_size": 16,
        "use_additional_conditions": True,
    },
    "DiTTransformer2DModel": {
        **_HEADS,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": 1,
        "sample_size": 8,
        "norm_num_groups": 4,
        "num_embeds_ada_norm": 10,
    },
    "Transformer2DModel": {**_HEADS, "in_channels": 16, "cross_attention_dim": 12, "norm_num_groups": 4},
    "AuraFlowTransformer2DModel": {
        **_HEADS,
        "in_channels": 4,
        "num_mmdit_layers": 1,
        "num_single_dit_layers": 1,
        "joint_attention_dim": 16,
        "caption_projection_dim": 16,
        "sample_size": 16,
        "pos_embed_max_size": 64,
    },
    "SanaTransformer2DModel": {
        **_HEADS,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 8,
        "cross_attention_dim": 16,
        "caption_channels": 12,
        "sample_size": 8,
    },
    "Lumina2Transformer2DModel": {
        "sample_size": 16,
        "in_channels": 4,
        "hidden_size": 24,
        "num_layers": 1,
        "num_refiner_layers": 1,
        "num_attention_heads": 3,
        "num_kv_heads": 1,
        "multiple_of": 2,
        "axes_dim_rope": (4, 2, 2),
        "axes_lens": (64, 64, 64),
        "cap_feat_dim": 16,
    },
    "CogView4Transformer2DModel": {
        **_HEADS,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "text_embed_dim": 16,
        "time_embed_dim": 8,
        "condition_dim": 4,
        "rope_axes_dim": (16, 16),
    },
    "CogVideoXTransformer3DModel": {
        **_HEADS,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "text_embed_dim": 12,
        "time_embed_dim": 8,
        "sample_width": 8,
        "sample_height": 8,
        "sample_frames": 8,
        "max_text_seq_length": 8,
    },
    "HunyuanVideoTransformer3DModel": {
        "num_attention_heads": 2,
        "attention_head_dim": 10,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "text_embed_dim": 16,
        "pooled_projection_dim": 8,
        "rope_axes_dim": (2, 4, 4),
    },
    "LTXVideoTransformer3DModel": {
        **_HEADS,
        "in_channels": 8,
        "out_channels": 8,
        "num_layers": 1,
        "cross_attention_dim": 16,
        "caption_channels": 12,
    },
    "MochiTransformer3DModel": {
        **_HEADS,
        "in_channels": 12,
        "num_layers": 2,
        "pooled_projection_dim": 16,
        "text_embed_dim": 16,
        "time_embed_dim": 4,
    },
    "WanTransformer3DModel": {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 16,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 2,
        "rope_max_seq_len": 32,
    },
    "WanTransformer3DModel image": {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 16,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 1,
        "rope_max_seq_len": 32,
        "image_dim": 4,
        "added_kv_proj_dim": 24,
    },
}


def make(name, *, seed=0):
    """Make a tiny model by its name in `TINY`; what is zero at first is not, so that all counts."""
    import diffusers
    import torch

    torch.manual_seed(seed)
    module = getattr(diffusers, name.partition(" ")[0])(**TINY[name]).eval()
    with torch.no_grad():
        for value in module.parameters():
            if value.count_nonzero() == 0:
                torch.nn.init.normal_(value, std=0.02)
    return module


def read(name, folder, **options):
    """Have diffusers read a model from a folder."""
    import diffusers

    kind = getattr(diffusers, name.partition(" ")[0])
    return kind.from_pretrained(folder, local_files_only=True, **options).eval()
