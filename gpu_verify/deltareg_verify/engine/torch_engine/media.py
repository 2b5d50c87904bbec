"""Probe inputs other than text: pixels and sounds of the shapes that a network takes."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from deltareg.errors import Inconclusive

SOUNDS = frozenset({"input_features", "input_values", "inputs"})
"""The parameters by which networks take a sound; one that has several takes any of them."""
INPUTS = SOUNDS | {"pixel_values"}
"""The parameters by which networks take what is no text."""
_ANY_SIZE = 64  # of an image for convolutions, which take any
_GRID = 4  # tokens along each side of an image that comes in patches
_PATCH_SIZES = ("spatial_merge_size", "temporal_patch_size", "patch_size")
_STRIDE = 2  # of convolutions over frames: two of these make one position
_FRAMES = 16  # positions that a sound is to give, where the network does not say how many


class _Features(Protocol):
    """The features that a network makes of images: per image, or for the vectors of all tokens."""

    pooler_output: torch.Tensor | Sequence[torch.Tensor]


def media_inputs(
    random: np.random.Generator, module: PreTrainedModel, takes: Collection[str], count: int
) -> dict[str, torch.Tensor]:
    """Create images and sounds for a network.

    Args:
        random: The source of the numbers.
        module: The network.
        takes: The parameters of its forward.
        count: How many images or sounds.
    """
    config, inputs = module.config, dict[str, torch.Tensor]()
    if "image_grid_thw" in takes:
        inputs |= _patches(random, config, count)
    elif "aspect_ratio_ids" in takes:
        inputs |= _tiles(random, config, count)
    elif "image_attention_mask" in takes:  # several images a row
        inputs["pixel_values"] = _pixels(random, config, count)[:, None]
    elif "pixel_values" in takes:
        inputs["pixel_values"] = _pixels(random, config, count)
    return inputs | _sounds(random, module, takes, count)


def with_image_tokens(
    module: PreTrainedModel, made: Mapping[str, torch.Tensor], takes: Collection[str]
) -> dict[str, torch.Tensor]:
    """Insert image tokens into the ids, for networks that replace these with image features.

    Args:
        module: The network.
        made: The inputs.
        takes: The parameters of its forward.

    Raises:
        Inconclusive: The network does not say how many tokens an image is.
    """
    image, ids = getattr(module.config, "image_token_id", None), made.get("input_ids")
    if ids is not None and "image_attention_mask" in takes:
        return {**made, "image_attention_mask": torch.ones_like(ids)[:, :, None]}
    is_beside = "cross_attention_mask" in takes  # words look at images, and none stands among them
    if image is None or ids is None or "pixel_values" not in made or is_beside:
        return dict(made)
    tokens = _tokens_per_image(module, made, ids.shape[0])
    others = torch.where(ids == image, (image + 1) % module.config.get_text_config().vocab_size, ids)
    row = torch.full((ids.shape[0], tokens), image)
    joined = torch.cat([others[:, :1], row, others[:, 1:]], dim=1)
    more: dict[str, torch.Tensor] = {}
    if "mm_token_type_ids" in takes:
        more["mm_token_type_ids"] = (joined == image).to(torch.int64)
    mask = torch.ones_like(joined)
    return {**made, "input_ids": joined, "attention_mask": mask, **more}


def _tokens_per_image(module: PreTrainedModel, made: Mapping[str, torch.Tensor], images: int) -> int:
    image_inputs = {n: made[n] for n in ("pixel_values", "image_grid_thw") if n in made}
    on_device = {
        n: v.to(module.device, module.dtype if v.is_floating_point() else None) for n, v in image_inputs.items()
    }
    try:
        find = cast("Callable[..., _Features]", module.get_image_features)
        with torch.no_grad():
            features = find(**on_device).pooler_output
    except (AttributeError, TypeError, ValueError) as error:
        message = f"there is no probe for {type(module).__name__}: its images are of no known shape"
        raise Inconclusive(message) from error
    parts = [features] if isinstance(features, torch.Tensor) else features
    return sum(part.numel() // part.shape[-1] for part in parts) // images


def _patches(random: np.random.Generator, config: PretrainedConfig, images: int) -> dict[str, torch.Tensor]:
    """Create images cut into patches, one patch per row, and each image's size in time and space.

    Empty for a network that states its sizes in another way.
    """
    vision = getattr(config, "vision_config", None)
    if vision is None or not _has(vision, *_PATCH_SIZES):
        return {}
    side = _GRID * vision.spatial_merge_size
    channels = getattr(vision, "in_channels", 3)
    width = channels * vision.temporal_patch_size * vision.patch_size**2
    grid = torch.tensor([[1, side, side]] * images)
    return {"pixel_values": _normal(random, images * side * side, width), "image_grid_thw": grid}


def _tiles(random: np.random.Generator, config: PretrainedConfig, images: int) -> dict[str, torch.Tensor]:
    """Create one image per row, cut into as many tiles as the network takes, and its tile layout.

    Empty for a network that states its sizes in another way.
    """
    vision = getattr(config, "vision_config", None)
    if vision is None or not _has(vision, "max_num_tiles", "supported_aspect_ratios"):
        return {}
    counts = [height * width for height, width in vision.supported_aspect_ratios]
    tiles = [_pixels(random, config, images) for _ in range(max(counts))]
    cut = torch.full((images, 1), counts.index(max(counts)) + 1)  # zero is padding
    pixels = torch.stack(tiles, dim=1)[:, None]
    mask = torch.ones((images, 1, len(tiles)), dtype=torch.long)
    return {"pixel_values": pixels, "aspect_ratio_ids": cut, "aspect_ratio_mask": mask}


def _pixels(random: np.random.Generator, config: PretrainedConfig, images: int) -> torch.Tensor:
    # An encoder-decoder pair that captions images keeps its encoder's config under `encoder`.
    vision = getattr(config, "vision_config", None) or getattr(config, "encoder", None) or config
    size = getattr(vision, "image_size", _ANY_SIZE)
    height, width = (size, size) if isinstance(size, int) else size
    channels = getattr(vision, "num_channels", 3)  # BLIP takes colours and does not say so
    return _normal(random, images, channels, height, width)


def _sounds(
    random: np.random.Generator, module: PreTrainedModel, takes: Collection[str], count: int
) -> dict[str, torch.Tensor]:
    """Create sounds, as frames or waveforms; empty where their length is unknown."""
    # An encoder-decoder pair that writes what it hears keeps its encoder's config under `encoder`.
    config = getattr(module.config, "encoder", None) or module.config
    if "input_features" in takes and (shape := _frames(config)) is not None:
        return {"input_features": _normal(random, count, *shape)}
    if "input_values" not in takes:
        return {}
    if _has(config, "num_mel_bins", "max_length"):
        return {"input_values": _normal(random, count, config.max_length, config.num_mel_bins)}
    samples = _samples(_convolutions(module, config))
    return {"input_values": _normal(random, count, samples)} if samples else {}


def _frames(config: PretrainedConfig) -> tuple[int, int] | None:
    """Return the two sizes of a sound in frames; Whisper's are in the other order."""
    if _has(config, "num_mel_bins", "max_source_positions"):
        return config.num_mel_bins, _STRIDE * config.max_source_positions
    if _has(config, "input_feat_per_channel", "num_conv_layers"):
        length = min(_FRAMES, config.max_source_positions) * _STRIDE**config.num_conv_layers
        return length, config.input_feat_per_channel * config.input_channels
    if _has(config, "feature_projection_input_dim"):
        return _FRAMES, config.feature_projection_input_dim
    return None


def _convolutions(module: PreTrainedModel, config: PretrainedConfig) -> list[tuple[int, int]]:
    """Return (kernel, stride) of the convolutions that a waveform passes, in order.

    Empty where neither the config nor the encoder states them.
    """
    if _has(config, "conv_kernel", "conv_stride"):
        return list(zip(config.conv_kernel, config.conv_stride, strict=True))
    encoder = module.get_encoder() if config.is_encoder_decoder else module
    layers = [child for child in encoder.children() if isinstance(child, nn.Conv1d)]
    is_of_waves = bool(layers) and layers[0].in_channels == 1
    return [(x.kernel_size[0], x.stride[0]) for x in layers] if is_of_waves else []


def _samples(layers: Sequence[tuple[int, int]]) -> int:
    """Return the length of a waveform of which convolutions leave a few frames; 0 without any."""
    length = _FRAMES if layers else 0
    for kernel, stride in reversed(layers):
        length = (length - 1) * stride + kernel
    return length


def _has(config: PretrainedConfig, *names: str) -> bool:
    return all(hasattr(config, name) for name in names)


def _normal(random: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(random.standard_normal(shape).astype(np.float32))
