"""The layout of the latents that a model of diffusers takes: an image, rows of patches, a film."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping

import torch

from deltareg_verify.engine.torch_engine.networks.draw import InputGenerator

_PATCHES = 4  # along each side of an image
_FRAMES = 2
_LEAST_SIDE = 8
_ROW = _PATCHES * _PATCHES
Made = Mapping[str, torch.Tensor]


def latents_of(kind: str, draw: InputGenerator) -> Made | None:
    """Draw the latents that a class takes, by the names of its forward; None if unknown.

    Args:
        kind: The class's name.
        draw: The generator to draw with.
    """
    make = _KINDS.get(kind)
    return None if make is None else make(draw)


def side_of(draw: InputGenerator) -> int:
    """Return the height and width of an image that the model can halve as often as it does."""
    if "block_out_channels" in draw.config:
        return max(_LEAST_SIDE, 1 << len(draw.numbers("block_out_channels")))
    return _PATCHES * (draw.number("patch_size") or 1)


def _unet(draw: InputGenerator) -> Made:
    side = side_of(draw)
    return {"sample": draw.normal(draw.rows, draw.number("in_channels"), side, side)}


def _image(draw: InputGenerator) -> Made:
    side = side_of(draw)
    return {"hidden_states": draw.normal(draw.rows, draw.number("in_channels"), side, side)}


def _row(draw: InputGenerator) -> Made:
    """Draw patches in a row, each with its place: frame, line, column."""
    axes = max(3, len(draw.numbers("axes_dims_rope")))
    places = torch.zeros(_ROW, axes)
    places[:, 1], places[:, 2] = _grid()
    return {
        "hidden_states": draw.normal(draw.rows, _ROW, draw.number("in_channels")),
        "img_ids": places,
        "txt_ids": torch.zeros(draw.tokens, axes),
    }


def _row_of_shape(draw: InputGenerator) -> Made:
    return {
        "hidden_states": draw.normal(draw.rows, _ROW, draw.number("in_channels")),
        "img_shapes": torch.tensor([[1, _PATCHES, _PATCHES]] * draw.rows),
    }


def _row_of_film(draw: InputGenerator) -> Made:
    sizes = {"num_frames": _FRAMES, "height": _PATCHES, "width": _PATCHES}
    return {
        "hidden_states": draw.normal(draw.rows, _FRAMES * _ROW, draw.number("in_channels")),
        **{name: torch.tensor(size) for name, size in sizes.items()},
    }


def _film(draw: InputGenerator) -> Made:
    side = side_of(draw)
    frames = _FRAMES * (draw.number("patch_size_t") or 1)
    shape = (draw.rows, draw.number("in_channels"), frames, side, side)
    return {"hidden_states": draw.normal(*shape)}


def _film_of_frames(draw: InputGenerator) -> Made:
    (film,) = _film(draw).values()
    return {"hidden_states": film.transpose(1, 2).contiguous()}


def _film_for_unet(draw: InputGenerator) -> Made:
    return {"sample": _film(draw)["hidden_states"]}


def _frames_for_unet(draw: InputGenerator) -> Made:
    return {"sample": _film_of_frames(draw)["hidden_states"]}


def _images_alone(draw: InputGenerator) -> Made:
    patch = draw.number("all_patch_size") or 1
    side = _PATCHES * patch
    return {"x": draw.normal(draw.rows, draw.number("in_channels"), 1, side, side)}


def _grid() -> tuple[torch.Tensor, torch.Tensor]:
    along = torch.arange(_PATCHES, dtype=torch.float32)
    return along.repeat_interleave(_PATCHES), along.repeat(_PATCHES)


_KINDS: Mapping[str, Callable[[InputGenerator], Made]] = {
    "AsymmetricAutoencoderKL": _unet,
    "AuraFlowTransformer2DModel": _image,
    "AutoencoderDC": _unet,
    "AutoencoderKL": _unet,
    "AutoencoderTiny": _unet,
    "ChromaTransformer2DModel": _row,
    "CogVideoXTransformer3DModel": _film_of_frames,
    "CogView4Transformer2DModel": _image,
    "ControlNetModel": _unet,
    "DiTTransformer2DModel": _image,
    "Flux2Transformer2DModel": _row,
    "FluxTransformer2DModel": _row,
    "HunyuanVideoTransformer3DModel": _film,
    "LTXVideoTransformer3DModel": _row_of_film,
    "LongCatImageTransformer2DModel": _row,
    "Lumina2Transformer2DModel": _image,
    "MochiTransformer3DModel": _film,
    "PixArtTransformer2DModel": _image,
    "QwenImageTransformer2DModel": _row_of_shape,
    "SD3Transformer2DModel": _image,
    "SanaTransformer2DModel": _image,
    "SkyReelsV2Transformer3DModel": _film,
    "Transformer2DModel": _image,
    "UNet2DConditionModel": _unet,
    "UNet2DModel": _unet,
    "UNet3DConditionModel": _film_for_unet,
    "UNetSpatioTemporalConditionModel": _frames_for_unet,
    "VQModel": _unet,
    "WanTransformer3DModel": _film,
    "ZImageTransformer2DModel": _images_alone,
}
