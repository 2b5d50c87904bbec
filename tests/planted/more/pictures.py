"""Pictures of the second set as files, and what a base's processor does to read them again."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

_MIDDLE, _SPREAD = 0.5, 0.2
_LEVELS = 255


def write_picture(pixels: torch.Tensor, path: Path) -> None:
    """Write a network's input (channels, height, width) as the PNG that it is read from."""
    shown = (pixels.numpy() * _SPREAD + _MIDDLE) * _LEVELS
    levels = np.clip(np.rint(shown), 0, _LEVELS).astype(np.uint8)
    Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(path)


def write_processor(folder: Path, *, channels: int) -> None:
    """Write what says how a base takes pictures, as its library saves it."""
    told = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / _LEVELS,
        "do_normalize": True,
        "image_mean": [_MIDDLE] * channels,
        "image_std": [_SPREAD] * channels,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
