"""Probe inputs for models of diffusers: seeded latents and what conditions them, small.

What a model takes follows from its forward and its config: how many channels, how wide the text's
vectors are, how large a patch is. A forward that takes anything else has no probe here.
"""

# diffusers has no types that checkers see; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import nn

from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.networks.draw import InputGenerator
from deltareg_verify.engine.torch_engine.networks.latents import latents_of, side_of

_TEXT_WIDTHS = (
    "joint_attention_dim",
    "caption_channels",
    "text_embed_dim",
    "text_dim",
    "cap_feat_dim",
    "encoder_hid_dim",
    "cross_attention_dim",
)
_STEPS = 1000  # of the schedule that a timestep is one of
_SHARE_OF_STEPS = frozenset({"img_ids", "img_shapes", "t"})  # who takes these takes steps in [0, 1]
_SIZE = 1024.0  # of the image that a model is told it makes
_TIME_IDS = 6  # numbers about size and crop that SDXL takes
_FILM_IDS = 3
_WAN_TEXT = 512  # tokens that Wan takes for text where vectors of an image follow
_WAN_IMAGE = 4


def diffusers_probe(module: nn.Module, *, seed: int, rows: int, tokens: int) -> dict[str, torch.Tensor]:
    """Create inputs for a model of diffusers, by what its forward takes.

    Args:
        module: The model.
        seed: The same seed gives the same inputs on every machine.
        rows: How many examples.
        tokens: How many vectors a text has, where the model sets no number.

    Raises:
        Inconclusive: There is no probe for such a model.
    """
    kind = type(module).__name__
    config = cast("Mapping[str, object]", module.config)
    length = _text_length(config, tokens)
    draw = InputGenerator(np.random.default_rng(seed), config, rows, length)
    latents = latents_of(kind, draw)
    if latents is None:
        raise _no_probe(kind, "")
    takes = inspect.signature(module.forward).parameters
    inputs = {name: value for name, value in latents.items() if name in takes}
    for name in takes:
        give = _CONDITIONS.get(name)
        if give is not None and name not in inputs:
            inputs |= give(draw, name)
    if _SHARE_OF_STEPS & inputs.keys():
        inputs |= {n: inputs[n].float() / _STEPS for n in ("timestep", "t") if n in inputs}
    required = [n for n, one in takes.items() if one.default is one.empty and n != "kwargs"]
    lost = [n for n in required if n not in inputs]
    if lost:
        raise _no_probe(kind, f": it takes {lost[0]}")
    return inputs


def _no_probe(kind: str, why: str) -> Inconclusive:
    return Inconclusive(f"there is no probe for a {kind}{why}", fix="ask for this type of base to be added")


def _text_length(config: Mapping[str, object], tokens: int) -> int:
    """Return how many vectors a text has: some models take no other number."""
    length = config.get("max_text_seq_length")
    if isinstance(length, int):
        return length
    return _WAN_TEXT if config.get("image_dim") else tokens


def _text(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    width = draw.number(*_TEXT_WIDTHS)
    return {name: draw.normal(draw.rows, draw.tokens, width)} if width else {}


def _mask(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    return {name: torch.ones(draw.rows, draw.tokens, dtype=torch.int64)}


def _step(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    return {name: draw.whole(_STEPS, draw.rows)}


def _draw_pooled_text(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    width = draw.number("pooled_projection_dim")
    return {name: draw.normal(draw.rows, width)} if width else {}


def _guidance(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    is_taken = draw.config.get("guidance_embeds")
    return {name: draw.normal(draw.rows).abs()} if is_taken else {}


def _labels(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    match draw.config.get("class_embed_type"):
        case None:
            count = draw.number("num_class_embeds")
            if not count and draw.config.get("norm_type") == "ada_norm_zero":
                count = draw.number("num_embeds_ada_norm")
            return {name: draw.whole(count, draw.rows)} if count else {}
        case "timestep":
            return _step(draw, name)
        case "projection" | "simple_projection":
            width = draw.number("projection_class_embeddings_input_dim")
            return {name: draw.normal(draw.rows, width)}
        case other:
            raise Inconclusive(f"there is no probe for class labels of the type {other!r}")


def _draw_added_conditions(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    """Draw the conditions beside text and step: sizes, and a vector for the whole text."""
    if draw.config.get("encoder_hid_dim_type") not in {None, "text_proj"}:
        kind = draw.config["encoder_hid_dim_type"]
        raise Inconclusive(f"there is no probe for a text of the type {kind!r}")
    match draw.config.get("addition_embed_type"):
        case None | "text":
            return _sizes(draw, name) if "caption_channels" in draw.config else {}
        case "text_time":
            steps = _TIME_IDS * draw.number("addition_time_embed_dim")
            width = draw.number("projection_class_embeddings_input_dim") - steps
            return {
                f"{name}.text_embeds": draw.normal(draw.rows, width),
                f"{name}.time_ids": torch.full((draw.rows, _TIME_IDS), _SIZE),
            }
        case "image":
            width = draw.number("encoder_hid_dim")
            return {f"{name}.image_embeds": draw.normal(draw.rows, width)}
        case other:
            raise Inconclusive(f"there is no probe for conditions of the type {other!r}")


def _sizes(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    """Return the sizes for PixArt, which only some of its models use."""
    return {f"{name}.resolution": torch.full((draw.rows, 2), _SIZE), f"{name}.aspect_ratio": torch.ones(draw.rows, 1)}


def _size(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    return {name: torch.full((draw.rows, 2), _SIZE)}


def _crop(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(draw.rows, 2)}


def _film_ids(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    return {name: draw.normal(draw.rows, _FILM_IDS).abs()}


def _hint(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    """Draw the control image of a ControlNet, larger by the factor that it shrinks images by."""
    halvings = len(draw.numbers("conditioning_embedding_out_channels")) - 1
    side = side_of(draw) << halvings
    return {name: draw.normal(draw.rows, draw.number("conditioning_channels"), side, side)}


def _image_vectors(draw: InputGenerator, name: str) -> dict[str, torch.Tensor]:
    width = draw.number("image_dim")
    if not width or draw.number("pos_embed_seq_len"):
        return {}
    return {name: draw.normal(draw.rows, _WAN_IMAGE, width)}


_CONDITIONS: Mapping[str, Callable[[InputGenerator, str], dict[str, torch.Tensor]]] = {
    "added_cond_kwargs": _draw_added_conditions,
    "added_time_ids": _film_ids,
    "cap_feats": _text,
    "class_labels": _labels,
    "controlnet_cond": _hint,
    "crop_coords": _crop,
    "encoder_attention_mask": _mask,
    "encoder_hidden_states": _text,
    "encoder_hidden_states_image": _image_vectors,
    "encoder_hidden_states_mask": _mask,
    "guidance": _guidance,
    "original_size": _size,
    "pooled_projections": _draw_pooled_text,
    "t": _step,
    "target_size": _size,
    "timestep": _step,
}
