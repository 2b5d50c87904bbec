"""Tokens that stand in a text for images, videos and sounds: as many as the network makes vectors of these."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch

from deltareg.errors import NoProbe
from deltareg_verify.engine.torch_engine.seeded.images import is_interleaved
from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw
from deltareg_verify.engine.torch_engine.seeded.words import count_tokens

Inputs = Mapping[str, torch.Tensor]
_WORDS = frozenset({"input_ids", "attention_mask"})
_UNREADABLE = (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError)


@dataclass(frozen=True, slots=True)
class _Medium:
    """Something that tokens stand for.

    Attributes:
        name: What people call several of it.
        values: The parameters that bring it; one of them is enough.
        token: The setting that names its token.
        features: The method that makes vectors of it.
        type_id: Its number among `mm_token_type_ids`.
    """

    name: str
    values: tuple[str, ...]
    token: str
    features: str
    type_id: int


_MEDIA = (
    _Medium("images", ("pixel_values", "pixel_values_images"), "image_token_id", "get_image_features", 1),
    _Medium("videos", ("pixel_values_videos",), "video_token_id", "get_video_features", 2),
    _Medium("sounds", ("input_features", "input_values"), "audio_token_id", "get_audio_features", 3),
)
TOKEN_SETTINGS = tuple(one.token for one in _MEDIA)
"""The settings of a config that name the tokens which stand for media."""


class _Features(Protocol):
    """The features that a network makes: per image or sound, or for the vectors of all tokens."""

    pooler_output: torch.Tensor | Sequence[torch.Tensor] | None
    last_hidden_state: torch.Tensor


def with_placeholders(draw: NetworkDraw, made: Inputs) -> dict[str, torch.Tensor]:
    """Put the tokens of images, videos and sounds into the ids, for networks that replace them with features.

    Args:
        draw: The network.
        made: Its inputs.

    Raises:
        NoProbe: The network does not say how many tokens an image or a sound is.
    """
    ids = made.get("input_ids")
    if ids is None or "cross_attention_mask" in draw.takes:  # words look at images, and none stands among them
        return dict(made)
    if is_interleaved(draw):
        return {**made, "image_attention_mask": torch.ones_like(ids)[:, :, None]}
    present = ((one, getattr(draw.config, one.token, None)) for one in _MEDIA if made.keys() & {*one.values})
    tokens = {one: token for one, token in present if isinstance(token, int)}
    return _insert(draw, made, tokens) if tokens else dict(made)


def _insert(draw: NetworkDraw, made: Inputs, tokens: Mapping[_Medium, int]) -> dict[str, torch.Tensor]:
    ids, vocabulary = made["input_ids"], count_tokens(draw.config.get_text_config())
    placed = torch.tensor(sorted(tokens.values()))
    free = next(token for token in range(1, vocabulary + 1) if token not in placed)
    after = {
        token: token + 1 if token + 1 < vocabulary and token + 1 not in placed else free for token in placed.tolist()
    }
    for token, other in after.items():
        ids = torch.where(ids == token, other, ids)
    rows = [torch.full((draw.rows, _count(draw, made, one)), token) for one, token in tokens.items()]
    joined = torch.cat([ids[:, :1], *rows, ids[:, 1:]], dim=1)
    inputs = {**made, "input_ids": joined, "attention_mask": torch.ones_like(joined)}
    if "mm_token_type_ids" in draw.takes:
        types = (torch.where(joined == token, one.type_id, 0) for one, token in tokens.items())
        inputs["mm_token_type_ids"] = torch.stack([*types]).sum(0)
    return inputs


def _count(draw: NetworkDraw, made: Inputs, one: _Medium) -> int:
    """Count the vectors that a network makes of each row's image, video or sound."""
    try:
        with torch.no_grad():
            return _count_vectors(draw, made, one) // draw.rows
    except torch.OutOfMemoryError:
        raise
    except _UNREADABLE as error:
        name = type(draw.module).__name__
        raise NoProbe(f"there is no probe for {name}: its {one.name} are of no known shape") from error


def _count_vectors(draw: NetworkDraw, made: Inputs, one: _Medium) -> int:
    make = getattr(draw.inner, one.features, None) or getattr(draw.module, one.features, None)
    if make is None:
        return _count_of_lengths(draw, made)
    takes = inspect.signature(make).parameters
    given = {name: _on_network(draw, value) for name, value in made.items() if name in takes and name not in _WORDS}
    if draw.module is not draw.inner and "image_grid_thw" in given and given["pixel_values"].ndim > 2:
        given["pixel_values"] = given["pixel_values"].flatten(0, 1)  # padded for each row by ColQwen's processor
    first = next(iter(takes))
    if first not in given:  # its own name for what the network takes by another
        given[first] = _on_network(draw, next(made[name] for name in one.values if name in made))
    features = cast("Callable[..., _Features]", make)(**given)
    vectors = getattr(features, "pooler_output", None)
    vectors = features.last_hidden_state if vectors is None else vectors
    parts: Sequence[torch.Tensor] = [vectors] if isinstance(vectors, torch.Tensor) else vectors
    return sum(part.numel() // part.shape[-1] for part in parts)


def _count_of_lengths(draw: NetworkDraw, made: Inputs) -> int:
    """Count by the lengths that a tower of sounds says of its own, where nothing else says it (Qwen2-Audio)."""
    lengths = made["feature_attention_mask"].sum(-1)
    tower: Any = draw.inner.audio_tower
    _, counts = tower._get_feat_extract_output_lengths(lengths)  # noqa: SLF001
    return int(counts.sum())


def _on_network(draw: NetworkDraw, value: torch.Tensor) -> torch.Tensor:
    return value.to(draw.module.device, draw.module.dtype if value.is_floating_point() else None)
