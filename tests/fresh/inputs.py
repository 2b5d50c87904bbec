"""Seeded inputs for small networks: the worker's own probes, and what these do not know."""

from collections.abc import Callable
from typing import Any

from deltareg.errors import Inconclusive
from deltareg_verify.torch_engine.probe import probe_inputs
from tests.small_networks import torch

Inputs = dict[str, Any]
_ROWS, _LENGTH, _SEED = 2, 9, 7
_LEAST = 4  # tokens that a row must have for two of them to be padding


def inputs_of(module: Any) -> Inputs:
    """Give inputs for a network, of which one row is padded where it reads plain text.

    Raises:
        Inconclusive: It takes what is not known here.
    """
    own = _OWN.get(_kind(module))
    if own is not None:
        generator = torch.Generator().manual_seed(_SEED)
        return own(generator)
    found = dict(probe_inputs(module, seed=_SEED, sequences=_ROWS, tokens=_LENGTH))
    mask = found.get("attention_mask")
    if mask is not None and not any("pixel" in name for name in found) and mask.shape[1] > _LEAST:
        found["attention_mask"] = mask.clone()
        found["attention_mask"][0, -2:] = 0
    return found


def _kind(module: Any) -> str:
    """Name a network, and of a pair its encoder."""
    encoder = getattr(module.config, "encoder", None)
    inner = getattr(encoder, "model_type", "")
    return f"{module.config.model_type} {inner}".strip()


def _normal(generator: Any, *shape: int) -> Any:
    return torch.randn(shape, generator=generator)


def _words(generator: Any) -> Inputs:
    return {"decoder_input_ids": torch.randint(3, 40, (_ROWS, 4), generator=generator)}


_OWN: dict[str, Callable[[Any], Inputs]] = {
    "moonshine": lambda g: {"input_values": _normal(g, _ROWS, 2_000), **_words(g)},
    "speech_to_text": lambda g: {"input_features": _normal(g, _ROWS, 12, 8), **_words(g)},
    "speech-encoder-decoder wav2vec2": lambda g: {
        "input_values": _normal(g, _ROWS, 64), **_words(g),
    },
    "vision-encoder-decoder vit": lambda g: {
        "pixel_values": _normal(g, _ROWS, 3, 8, 8), **_words(g),
    },
    "wav2vec2-bert": lambda g: {"input_features": _normal(g, _ROWS, 8, 8)},
}  # fmt: skip

__all__ = ["Inconclusive", "Inputs", "inputs_of"]
