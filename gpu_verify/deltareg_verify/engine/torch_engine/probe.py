"""Probe inputs: seeded, of fixed shape, fitting the base's architecture; and their outputs."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from deltareg.errors import Inconclusive, InvalidInput
from deltareg_verify.engine.engine import F32
from deltareg_verify.engine.torch_engine.media import INPUTS, SOUNDS, media_inputs, with_image_tokens
from deltareg_verify.engine.torch_engine.networks.calling import ComponentNetworks, parameters_of
from deltareg_verify.engine.torch_engine.networks.diffusers_probe import diffusers_probe

Inputs = Mapping[str, torch.Tensor]
_KNOWN = (
    "input_",
    "attention_",
    "pixel_",
    "token_type_",
    "decoder_input_",
    "image_grid",
    "mm_token",
    "sample",
    "hidden_states",
    "timestep",
    "encoder_",
    "pooled_",
    "added_cond",
    "img_",
    "txt_",
)
_LENGTHS = ("max_position_embeddings", "max_target_positions")
_TOKENS = ("input_ids", "decoder_input_ids")
_BOUND = frozenset({"decoder_input_ids", "image_attention_mask"})  # no forward on words alone


class _Placed(Protocol):
    """A network with its device and dtype."""

    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...


def probe_inputs(module: nn.Module, *, seed: int, sequences: int, tokens: int) -> dict[str, torch.Tensor]:
    """Create inputs for a network: token ids, pixels, sounds, latents, by what its forward takes.

    Args:
        module: The network.
        seed: The suite's seed; the same seed gives the same inputs on every machine.
        sequences: Batch size; it is fixed because other batch shapes may take other kernels.
        tokens: Length of a sequence, cut to what the network can take.

    Raises:
        Inconclusive: The network takes something else, or these in an unknown shape.
    """
    if isinstance(module, ComponentNetworks):
        parts = module.parts.items()
        each = {n: probe_inputs(p, seed=seed, sequences=sequences, tokens=tokens) for n, p in parts}
        return {f"{n}.{name}": value for n, inputs in each.items() for name, value in inputs.items()}
    if isinstance(module, PreTrainedModel):
        inputs = _inputs_of(module, np.random.default_rng(seed), sequences, tokens)
    else:
        inputs = diffusers_probe(module, seed=seed, rows=sequences, tokens=tokens)
    return _move_to_network(module, inputs)


def _inputs_of(
    module: PreTrainedModel, random: np.random.Generator, sequences: int, tokens: int
) -> dict[str, torch.Tensor]:
    takes = inspect.signature(module.forward).parameters
    text = module.config.get_text_config()
    inputs: dict[str, torch.Tensor] = {}
    if "input_ids" in takes:
        ids = _token_ids(random, text, sequences, tokens)
        inputs["input_ids"], inputs["attention_mask"] = ids, torch.ones_like(ids)
    inputs |= media_inputs(random, module, takes, sequences)
    if _is_given_decoder_ids(module, takes):
        inputs["decoder_input_ids"] = _token_ids(random, text, sequences, tokens // 2)
        if hasattr(module, "text_decoder"):  # what BLIP answers shows in its loss alone
            inputs["labels"] = inputs["decoder_input_ids"]
    # What is no text goes through parts of its own, which no text would exercise.
    needed = {module.main_input_name} | (INPUTS & takes.keys())
    lost = sorted(needed - inputs.keys() - (SOUNDS if SOUNDS & inputs.keys() else frozenset()))
    if lost:
        raise Inconclusive(f"there is no probe for {type(module).__name__}: it takes {lost[0]}")
    inputs = with_image_tokens(module, inputs, takes)
    return {name: value for name, value in inputs.items() if name in takes}


def continues_texts(module: nn.Module, probe: Inputs) -> bool:
    """Return whether a network continues texts by itself, and by words alone."""
    if not isinstance(module, PreTrainedModel):
        return False
    goes_on = module.main_input_name == "input_ids" and not probe.keys() & _BOUND
    return goes_on and module.can_generate() and not module.config.is_encoder_decoder


def given_inputs(module: nn.Module, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    """Move other inputs to a network's device, real numbers in its dtype.

    Raises:
        InvalidInput: The network's forward has no parameter of such a name, or no such token.
    """
    if isinstance(module, ComponentNetworks):
        return _given_by_part(module, arrays)
    takes = parameters_of(module)
    unknown = next((name for name in arrays if name.partition(".")[0] not in takes), None)
    if unknown is not None or not arrays:
        detail = f"an input {unknown!r}" if arrays else "no input at all"
        raise _not_taken(module, detail, [name for name in takes if name.startswith(_KNOWN)])
    token_ids = [(name, arrays[name]) for name in _TOKENS if name in arrays]
    if token_ids and isinstance(module, PreTrainedModel):
        _check_tokens(token_ids, module.config.get_text_config().vocab_size)
    return _move_to_network(module, {name: torch.from_numpy(v.copy()) for name, v in arrays.items()})


def _given_by_part(module: ComponentNetworks, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    unknown = next((name for name in arrays if name.partition(".")[0] not in module.parts), None)
    if unknown is not None or not arrays:
        detail = f"an input {unknown!r}" if arrays else "no input at all"
        raise _not_taken(module, detail, [f"{part}.…" for part in module.parts])
    inputs: dict[str, torch.Tensor] = {}
    for part, child in module.parts.items():
        start = f"{part}."
        own = {n.removeprefix(start): v for n, v in arrays.items() if n.startswith(start)}
        part_inputs = given_inputs(child, own) if own else {}
        inputs |= {f"{start}{name}": value for name, value in part_inputs.items()}
    return inputs


def _check_tokens(given: Sequence[tuple[str, NDArray[np.generic]]], tokens: int) -> None:
    for name, ids in given:
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < tokens:
            raise InvalidInput(f"{name} has numbers that are none of the {tokens} tokens")


def _not_taken(module: nn.Module, told: str, known: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        f"{type(module).__name__} does not take {told}", fix=f"name tensors as its forward does: {', '.join(known)}"
    )


def _move_to_network(module: nn.Module, made: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Move inputs to a network's device, real numbers in its dtype."""
    where = cast("_Placed", module)
    device, dtype = where.device, where.dtype
    return {n: v.to(device, dtype if v.is_floating_point() else None) for n, v in made.items()}


def floating_outputs(result: Mapping[str, object]) -> dict[str, F32]:
    """Return every floating tensor of a network's answer, as float32 on the CPU; a number as one."""
    tensors = {name: value for name, value in result.items() if isinstance(value, torch.Tensor)}
    return {n: np.atleast_1d(v.detach().float().cpu().numpy()) for n, v in tensors.items() if v.is_floating_point()}


def _is_given_decoder_ids(module: PreTrainedModel, takes: Collection[str]) -> bool:
    """Return whether a decoder takes its own tokens; a classifier's takes those of the encoder."""
    has_decoder = module.config.is_encoder_decoder or hasattr(module, "text_decoder")
    is_classifier = type(module).__name__.endswith("ForSequenceClassification")
    return "decoder_input_ids" in takes and has_decoder and not is_classifier


def _token_ids(random: np.random.Generator, config: PretrainedConfig, sequences: int, tokens: int) -> torch.Tensor:
    lengths = (getattr(config, name, None) for name in _LENGTHS)
    length = max(2, min([tokens, *(most for most in lengths if most)]))
    ids = random.integers(0, config.vocab_size, (sequences, length))
    end = config.eos_token_id
    if isinstance(end, int) and end < config.vocab_size:
        # CLIP pools at the first end token, and classifiers at the last: each row has just one.
        ids[ids == end] = (end + 1) % config.vocab_size
        ids[:, -1] = end
    return torch.from_numpy(ids)
