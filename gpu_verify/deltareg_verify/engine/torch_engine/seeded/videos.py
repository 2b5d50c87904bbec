"""Videos, for networks that take them by a name of their own."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import torch

from deltareg_verify.engine.torch_engine.seeded.images import pixels, vision_of
from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw, has, pair

_NAME = "pixel_values_videos"
_FRAMES = 8  # that Video-LLaVA takes, whose config does not say it


def draw_videos(draw: NetworkDraw) -> dict[str, torch.Tensor]:
    """Draw videos; empty for a network whose videos go through what its images go through."""
    takes, vision = draw.takes, vision_of(draw)
    if "pixel_values_images" in takes and hasattr(draw.module.base_model, "video_tower"):
        return {"pixel_values_images": pixels(draw), _NAME: pixels(draw, _FRAMES)}
    if draw.module.main_input_name != _NAME or _NAME not in takes:
        return {}
    if has(vision, "frames_per_clip", "crop_size"):
        size = pair(vision.crop_size)
        return {_NAME: draw.normal(draw.rows, vision.frames_per_clip, getattr(vision, "in_chans", 3), *size)}
    if has(vision, "num_frames"):
        return {_NAME: pixels(draw, vision.num_frames)}
    return {}
