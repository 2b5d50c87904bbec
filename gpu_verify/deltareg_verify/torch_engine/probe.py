"""Probe inputs: seeded, of fixed shape, fitting the base's architecture; and what comes out."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PretrainedConfig, PreTrainedModel

from deltareg.errors import Inconclusive, InvalidInput
from deltareg_verify.engine import F32
from deltareg_verify.torch_engine.media import INPUTS, media_inputs, with_image_tokens

Inputs = Mapping[str, torch.Tensor]
_KNOWN = (
    "input_", "attention_", "pixel_", "token_type_", "decoder_input_", "image_grid", "mm_token",
)  # fmt: skip
_LENGTHS = ("max_position_embeddings", "max_target_positions")
_TOKENS = ("input_ids", "decoder_input_ids")


def probe_inputs(
    module: PreTrainedModel, *, seed: int, sequences: int, tokens: int
) -> dict[str, torch.Tensor]:
    """Make inputs for a network: token ids, pixels, sounds, by what its forward takes.

    Args:
        module: The network.
        seed: The suite's seed; the same seed gives the same inputs on every machine.
        sequences: Batch size; it is fixed because other batch shapes may take other kernels.
        tokens: Length of a sequence, cut to what the network can take.

    Raises:
        Inconclusive: The network takes something else, or this in a shape that is not known here.
    """
    random = np.random.default_rng(seed)
    takes = inspect.signature(module.forward).parameters
    text = module.config.get_text_config()
    made: dict[str, torch.Tensor] = {}
    if "input_ids" in takes:
        ids = _token_ids(random, text, sequences, tokens)
        made["input_ids"], made["attention_mask"] = ids, torch.ones_like(ids)
    made |= media_inputs(random, module, takes, sequences)
    if _is_given_decoder_ids(module, takes):
        made["decoder_input_ids"] = _token_ids(random, text, sequences, tokens // 2)
        if hasattr(module, "text_decoder"):  # what BLIP answers shows in its loss alone
            made["labels"] = made["decoder_input_ids"]
    # What is no text goes through parts of its own, which no text would exercise.
    needed = {module.main_input_name} | (INPUTS & takes.keys())
    lost = sorted(needed - made.keys())
    if lost:
        raise Inconclusive(f"there is no probe for {type(module).__name__}: it takes {lost[0]}")
    made = with_image_tokens(module, made, takes)
    made = {name: value for name, value in made.items() if name in takes}
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
    """Take every floating tensor of a network's answer, as float32 on the CPU; a number as one."""
    tensors = {name: value for name, value in result.items() if isinstance(value, torch.Tensor)}
    return {
        n: np.atleast_1d(v.detach().float().cpu().numpy())
        for n, v in tensors.items()
        if v.is_floating_point()
    }


def _is_given_decoder_ids(module: PreTrainedModel, takes: Collection[str]) -> bool:
    """Whether a decoder is told its tokens; a classifier takes those of the encoder."""
    has_decoder = module.config.is_encoder_decoder or hasattr(module, "text_decoder")
    is_classifier = type(module).__name__.endswith("ForSequenceClassification")
    return "decoder_input_ids" in takes and has_decoder and not is_classifier


def _token_ids(
    random: np.random.Generator, config: PretrainedConfig, sequences: int, tokens: int
) -> torch.Tensor:
    told = (getattr(config, name, None) for name in _LENGTHS)
    length = max(2, min([tokens, *(most for most in told if most)]))
    ids = random.integers(0, config.vocab_size, (sequences, length))
    end = config.eos_token_id
    if isinstance(end, int) and end < config.vocab_size:
        # CLIP pools at the first end token, and classifiers at the last: each row has just one.
        ids[ids == end] = (end + 1) % config.vocab_size
        ids[:, -1] = end
    return torch.from_numpy(ids)
