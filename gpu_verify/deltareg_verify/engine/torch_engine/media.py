"""What is no text among a network's inputs: images, videos, sounds, series."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import torch

from deltareg_verify.engine.torch_engine.seeded.images import draw_images
from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw
from deltareg_verify.engine.torch_engine.seeded.series import draw_series
from deltareg_verify.engine.torch_engine.seeded.sounds import draw_sounds
from deltareg_verify.engine.torch_engine.seeded.videos import draw_videos

SOUNDS = frozenset({"input_features", "input_values", "inputs"})
"""The parameters by which networks take a sound; one that has several takes any of them."""
INPUTS = SOUNDS | {"pixel_values"}
"""The parameters by which networks take what is no text."""
KINDS = {
    "images": frozenset({"pixel_values", "pixel_values_images", "pixel_values_videos", "image_pixel_values"}),
    "sounds": SOUNDS | {"audio_input_features"},
}
"""The kinds of input that words do not stand in for, with the parameters that bring them."""


def draw_media(draw: NetworkDraw) -> dict[str, torch.Tensor]:
    """Draw all that a network takes and that is no text; empty for one that takes words alone."""
    return draw_images(draw) | draw_videos(draw) | draw_sounds(draw) | draw_series(draw)
