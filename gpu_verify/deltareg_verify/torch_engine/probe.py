"""Probe inputs: seeded, of fixed shape, fitting the base's architecture; and what comes out."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PretrainedConfig, PreTrainedModel

from deltareg.errors import Inconclusive, InvalidInput
from deltareg_verify.engine import F32

Inputs = Mapping[str, torch.Tensor]
_KNOWN = ("input_", "attention_", "pixel_", "token_type_", "decoder_input_")
_TOKENS = ("input_ids", "decoder_input_ids")


def probe_inputs(
    module: PreTrainedModel, *, seed: int, sequences: int, tokens: int
) -> dict[str, torch.Tensor]:
    """Make inputs for a network: token ids, pixels, or both, by what its forward takes.

    Args:
        module: The network.
        seed: The suite's seed; the same seed gives the same inputs on every machine.
        sequences: Batch size; it is fixed because other batch shapes may take other kernels.
        tokens: Length of a sequence, cut to what the network can take.

    Raises:
        Inconclusive: The network takes something else, such as audio.
    """
    random = np.random.default_rng(seed)
    takes = inspect.signature(module.forward).parameters
    text = module.config.get_text_config()
    made: dict[str, torch.Tensor] = {}
    if "input_ids" in takes:
        ids = _token_ids(random, text, sequences, tokens)
        made["input_ids"], made["attention_mask"] = ids, torch.ones_like(ids)
    if "pixel_values" in takes:
        made["pixel_values"] = _pixels(random, module.config, sequences)
    if "decoder_input_ids" in takes and module.config.is_encoder_decoder:
        made["decoder_input_ids"] = _token_ids(random, text, sequences, tokens // 2)
    if module.main_input_name not in made:
        raise Inconclusive(
            f"there is no probe for {type(module).__name__}: it takes {module.main_input_name}"
        )
    dtype = module.dtype
    return {
        n: v.to(module.device, dtype if v.is_floating_point() else None) for n, v in made.items()
    }


def given_inputs(
    module: PreTrainedModel, arrays: Mapping[str, NDArray[np.generic]]
) -> dict[str, torch.Tensor]:
    """Put inputs of one's own on a network's device, real numbers in its dtype.

    Raises:
        InvalidInput: The network's forward has no parameter of such a name, or no such token.
    """
    takes = inspect.signature(module.forward).parameters
    unknown = next((name for name in arrays if name not in takes), None)
    if unknown is not None or not arrays:
        told = f"an input {unknown!r}" if arrays else "no input at all"
        known = ", ".join(name for name in takes if name.startswith(_KNOWN))
        raise InvalidInput(
            f"{type(module).__name__} does not take {told}",
            fix=f"name tensors as its forward does: {known}",
        )
    given = [(name, arrays[name]) for name in _TOKENS if name in arrays]
    tokens = module.config.get_text_config().vocab_size if given else 0
    for name, ids in given:
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < tokens:
            raise InvalidInput(f"{name} has numbers that are none of the {tokens} tokens")
    made = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    dtype = module.dtype
    return {
        n: v.to(module.device, dtype if v.is_floating_point() else None) for n, v in made.items()
    }


def floating_outputs(result: Mapping[str, object]) -> dict[str, F32]:
    """Take every floating tensor of a network's answer, as float32 on the CPU."""
    tensors = {name: value for name, value in result.items() if isinstance(value, torch.Tensor)}
    return {
        n: v.detach().float().cpu().numpy() for n, v in tensors.items() if v.is_floating_point()
    }


def _token_ids(
    random: np.random.Generator, config: PretrainedConfig, sequences: int, tokens: int
) -> torch.Tensor:
    most = getattr(config, "max_position_embeddings", None) or tokens
    length = max(2, min(tokens, most))
    ids = random.integers(0, config.vocab_size, (sequences, length))
    end = config.eos_token_id
    if isinstance(end, int) and end < config.vocab_size:
        ids[:, -1] = end  # CLIP pools at the first end token
    return torch.from_numpy(ids)


def _pixels(random: np.random.Generator, config: PretrainedConfig, images: int) -> torch.Tensor:
    vision = getattr(config, "vision_config", config)
    size = vision.image_size
    height, width = (size, size) if isinstance(size, int) else size
    channels = getattr(vision, "num_channels", 3)  # BLIP takes colours and does not say so
    shape = (images, channels, height, width)
    return torch.from_numpy(random.standard_normal(shape).astype(np.float32))
