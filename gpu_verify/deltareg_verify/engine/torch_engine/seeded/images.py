"""Images, in the shapes that processors of transformers make of them."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import sys
from collections.abc import Callable
from typing import cast

import torch
from transformers import PretrainedConfig

from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw, has, pair

Inputs = dict[str, torch.Tensor]
_ANY_SIZE = 64  # of an image for convolutions, which take any
_POINTS = 2
_GRID = 4  # tokens along each side of an image that comes in patches
_PATCH_SIZES = ("spatial_merge_size", "temporal_patch_size", "patch_size")
_FRAMES = ("num_frames", "frames_per_clip")
_SIZES = ("image_size", "input_size")
_COUNT_CROPS = "image_size_to_num_patches"


def draw_images(draw: NetworkDraw) -> Inputs:
    """Draw images for a network; empty for one that takes none."""
    if "flattened_patches" in draw.takes and has(vision_of(draw), "patch_embed_hidden_size", "patch_size"):
        return _numbered_patches(draw)
    if "pixel_values" not in draw.takes:
        return {}
    for applies, make in _RULES:
        if applies(draw):
            return make(draw)
    return {"pixel_values": pixels(draw)}


def pixels(draw: NetworkDraw, *counts: int) -> torch.Tensor:
    """Draw whole images, (rows, *counts, channels, height, width)."""
    vision = vision_of(draw)
    sizes = (getattr(vision, name, None) for name in _SIZES)
    size = next((one for one in sizes if one), _ANY_SIZE)
    channels = getattr(vision, "num_channels", 3)  # BLIP takes colours and does not say so
    return draw.normal(draw.rows, *counts, channels, *pair(size))


def vision_of(draw: NetworkDraw) -> PretrainedConfig:
    """Return the config of what sees; an encoder-decoder pair that captions keeps it under `encoder`."""
    return draw.part("vision_config", "image_config", "encoder")


def _is_patches_in_time(draw: NetworkDraw) -> bool:
    return "image_grid_thw" in draw.takes and has(vision_of(draw), *_PATCH_SIZES)


def _patches_in_time(draw: NetworkDraw) -> Inputs:
    """Draw images cut into patches, one patch per row, and each image's size in time and space."""
    vision = vision_of(draw)
    side = _GRID * vision.spatial_merge_size
    width = getattr(vision, "in_channels", 3) * vision.temporal_patch_size * vision.patch_size**2
    grid = torch.tensor([[1, side, side]] * draw.rows)
    is_by_row = draw.config is not draw.module.config  # as ColQwen's processor pads them
    shape = (draw.rows, side * side) if is_by_row else (draw.rows * side * side,)
    return {"pixel_values": draw.normal(*shape, width), "image_grid_thw": grid}


def _is_tiles(draw: NetworkDraw) -> bool:
    return "aspect_ratio_ids" in draw.takes and has(vision_of(draw), "max_num_tiles", "supported_aspect_ratios")


def _tiles(draw: NetworkDraw) -> Inputs:
    """Draw one image per row, cut into as many tiles as the network takes, and its tile layout."""
    counts = [height * width for height, width in vision_of(draw).supported_aspect_ratios]
    tiles = [pixels(draw) for _ in range(max(counts))]
    cut = torch.full((draw.rows, 1), counts.index(max(counts)) + 1)  # zero is padding
    mask = torch.ones((draw.rows, 1, len(tiles)), dtype=torch.long)
    return {"pixel_values": torch.stack(tiles, dim=1)[:, None], "aspect_ratio_ids": cut, "aspect_ratio_mask": mask}


def _is_several(draw: NetworkDraw) -> bool:
    return is_interleaved(draw) or _is_masked(draw) or "modernvbert" in draw.config.model_type


def is_interleaved(draw: NetworkDraw) -> bool:
    """Return whether images stand between words in attention alone, as in Idefics."""
    return "image_attention_mask" in draw.takes and "perceiver_embeddings" in draw.takes


def _is_masked(draw: NetworkDraw) -> bool:
    return "pixel_attention_mask" in draw.takes and "spatial_shapes" not in draw.takes


def _several(draw: NetworkDraw) -> Inputs:
    """Draw one of the images that a row may have, and a mask of its pixels where one is taken."""
    values = pixels(draw, 1)
    if not _is_masked(draw):
        return {"pixel_values": values}
    rows, count, _, height, width = values.shape
    return {"pixel_values": values, "pixel_attention_mask": torch.ones((rows, count, height, width), dtype=torch.long)}


def _is_any_aspect(draw: NetworkDraw) -> bool:
    return "spatial_shapes" in draw.takes and has(vision_of(draw), "patch_size")


def _any_aspect(draw: NetworkDraw) -> Inputs:
    """Draw patches of an image of any aspect (NaFlex), with their mask and the shape of each image."""
    vision = vision_of(draw)
    width = vision.num_channels * vision.patch_size**2
    shapes = torch.tensor([[_GRID, _GRID]] * draw.rows)
    mask = torch.ones((draw.rows, _GRID * _GRID), dtype=torch.long)
    values = draw.normal(draw.rows, _GRID * _GRID, width)
    return {"pixel_values": values, "pixel_attention_mask": mask, "spatial_shapes": shapes}


def _is_crops(draw: NetworkDraw) -> bool:
    return "image_sizes" in draw.takes and has(draw.config, "image_grid_pinpoints") and _counter(draw) is not None


def _crops(draw: NetworkDraw) -> Inputs:
    """Draw an image of the least size with its crops; the class's own module says how many these are."""
    size = list(pair(vision_of(draw).image_size))
    count = _counter(draw)
    assert count is not None
    crops = count(size, draw.config.image_grid_pinpoints, size[0])
    return {"pixel_values": pixels(draw, crops), "image_sizes": torch.tensor([size] * draw.rows)}


def _counter(draw: NetworkDraw) -> Callable[[list[int], list[list[int]], int], int] | None:
    function = getattr(sys.modules[type(draw.module).__module__], _COUNT_CROPS, None)
    return cast("Callable[[list[int], list[list[int]], int], int] | None", function)


def _takes_any_size(draw: NetworkDraw) -> bool:
    return "image_sizes" in draw.takes and getattr(vision_of(draw), "model_type", "") == "pixtral"


def _draw_any_size(draw: NetworkDraw) -> Inputs:
    """Draw small images for a network that takes any size, and their sizes."""
    vision = vision_of(draw)
    side = min(vision.image_size, _GRID * vision.patch_size * getattr(draw.config, "spatial_merge_size", 1))
    sizes = torch.tensor([[side, side]] * draw.rows)
    return {"pixel_values": draw.normal(draw.rows, vision.num_channels, side, side), "image_sizes": sizes}


def _is_frames(draw: NetworkDraw) -> bool:
    return _frames(draw) > 0


def _film(draw: NetworkDraw) -> Inputs:
    return {"pixel_values": pixels(draw, _frames(draw))}


def _frames(draw: NetworkDraw) -> int:
    counts = (getattr(vision_of(draw), name, None) or getattr(draw.config, name, None) for name in _FRAMES)
    return next((count for count in counts if isinstance(count, int)), 0)


def _takes_points(draw: NetworkDraw) -> bool:
    return {"input_points", "input_labels"} <= {*draw.takes}


def _draw_with_points(draw: NetworkDraw) -> Inputs:
    """Draw images with points on them, as Segment Anything is asked (Kirillov et al. 2023, section 3)."""
    values = pixels(draw)
    points = draw.whole(min(values.shape[-2:]), draw.rows, 1, _POINTS, 2).float()
    labels = torch.ones((draw.rows, 1, _POINTS), dtype=torch.long)
    return {"pixel_values": values, "input_points": points, "input_labels": labels}


def _numbered_patches(draw: NetworkDraw) -> Inputs:
    """Draw patches behind their row and column, from one on (Pix2Struct)."""
    width = 3 * getattr(draw.config, "patch_size", vision_of(draw).patch_size) ** 2
    places = torch.cartesian_prod(torch.arange(1, _GRID + 1), torch.arange(1, _GRID + 1)).float()
    values = draw.normal(draw.rows, len(places), width)
    patches = torch.cat([places.expand(draw.rows, -1, -1), values], dim=-1)
    return {"flattened_patches": patches, "attention_mask": torch.ones(patches.shape[:2])}


def _is_flat_patches(draw: NetworkDraw) -> bool:
    return isinstance(getattr(draw.inner, "vision_embed_tokens", None), torch.nn.Linear)


def _flat_patches(draw: NetworkDraw) -> Inputs:
    """Draw patches that a linear layer takes, as Fuyu's does."""
    width = draw.config.num_channels * draw.config.patch_size**2
    return {"pixel_values": draw.normal(draw.rows, _GRID, width)}


_RULES: tuple[tuple[Callable[[NetworkDraw], bool], Callable[[NetworkDraw], Inputs]], ...] = (
    (_takes_points, _draw_with_points),
    (_is_patches_in_time, _patches_in_time),
    (_is_tiles, _tiles),
    (_is_any_aspect, _any_aspect),
    (_is_several, _several),
    (_is_crops, _crops),
    (_takes_any_size, _draw_any_size),
    (_is_flat_patches, _flat_patches),
    (_is_frames, _film),
)
