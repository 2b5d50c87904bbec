"""Probe inputs: seeded, of fixed shape, fitting the base's architecture; and their outputs."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from deltareg.errors import Inconclusive, InvalidInput, NoProbe
from deltareg_verify.engine.engine import F32
from deltareg_verify.engine.torch_engine.media import INPUTS, KINDS, SOUNDS, draw_media
from deltareg_verify.engine.torch_engine.networks.calling import ComponentNetworks, call, parameters_of
from deltareg_verify.engine.torch_engine.networks.diffusers_probe import diffusers_probe
from deltareg_verify.engine.torch_engine.seeded.network_draw import NetworkDraw
from deltareg_verify.engine.torch_engine.seeded.placeholders import with_placeholders
from deltareg_verify.engine.torch_engine.seeded.words import by_choices, count_tokens, draw_beside, draw_ids, draw_words

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
_WORDS = frozenset({"input_ids", "attention_mask", "decoder_input_ids", "labels"})
_OWN_PROBE = "give the suite samples of its own, and `probe: {set: NAME}`"
_TOKENS = ("input_ids", "decoder_input_ids")


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
        NoProbe: The network takes something else, or these in an unknown shape.
    """
    if isinstance(module, ComponentNetworks):
        parts = module.parts.items()
        each = {n: probe_inputs(p, seed=seed, sequences=sequences, tokens=tokens) for n, p in parts}
        return {f"{n}.{name}": value for n, inputs in each.items() for name, value in inputs.items()}
    if isinstance(module, PreTrainedModel):
        try:
            return _inputs_that_run(module, seed, sequences, tokens, has_media=True)
        except NoProbe as error:  # what lies behind other inputs is reported by who looks for it
            try:
                return _inputs_that_run(module, seed, sequences, tokens, has_media=False)
            except NoProbe:
                raise error from None
    return _move_to_network(module, diffusers_probe(module, seed=seed, rows=sequences, tokens=tokens))


def known_tokens(module: nn.Module) -> int:
    """Return how many tokens a network knows; zero where it reads none."""
    if not isinstance(module, PreTrainedModel) or module.main_input_name != "input_ids":
        return 0
    return count_tokens(module.config.get_text_config())


def undrawn_kinds(module: nn.Module, inputs: Inputs) -> list[str]:
    """Name the kinds of input that a network takes and that it is not given: images, sounds."""
    takes = {*parameters_of(module)} if isinstance(module, PreTrainedModel) else set[str]()
    return [kind for kind, names in KINDS.items() if takes & names and not inputs.keys() & names]


def _inputs_that_run(
    module: PreTrainedModel, seed: int, sequences: int, tokens: int, *, has_media: bool
) -> dict[str, torch.Tensor]:
    draw = NetworkDraw(np.random.default_rng(seed), module, sequences, tokens)
    inputs = _move_to_network(module, _inputs_of(draw, draw_media(draw) if has_media else None))
    if inputs.keys() - _WORDS or not has_media:
        _check_runs(module, inputs)
    return inputs


def _inputs_of(draw: NetworkDraw, media: Inputs | None) -> dict[str, torch.Tensor]:
    """Draw all that a network takes, or with None in place of media its words alone."""
    module, takes = draw.module, draw.takes
    inputs = {**draw_words(draw), **(media or {})}
    if _is_given_decoder_ids(module, takes):
        inputs["decoder_input_ids"] = draw_ids(draw, draw.tokens // 2)
        if hasattr(module, "text_decoder"):  # what BLIP answers shows in its loss alone
            inputs["labels"] = inputs["decoder_input_ids"]
    _check_complete(draw, inputs, is_of_words=media is None)
    inputs = with_placeholders(draw, inputs)
    inputs |= draw_beside(draw, inputs)
    return by_choices(draw, {name: value for name, value in inputs.items() if name in takes})


def _check_complete(draw: NetworkDraw, inputs: Inputs, *, is_of_words: bool) -> None:
    """Raise where a network takes what was not drawn."""
    main = cast("str | list[str]", draw.module.main_input_name)
    names = {main} if isinstance(main, str) else {*main}  # of OneFormer a list
    needed = names if is_of_words else names | (INPUTS & {*draw.takes})
    lost = sorted(needed - inputs.keys() - (SOUNDS if SOUNDS & inputs.keys() else frozenset()))
    if lost:
        raise no_probe(draw.module, f"it takes {lost[0]}")


def _check_runs(module: nn.Module, inputs: Inputs) -> None:
    """Run a network once on inputs of kinds that classes shape differently, so that others need not wonder."""
    try:
        with torch.no_grad():
            call(module, inputs)
    except (torch.OutOfMemoryError, MemoryError, Inconclusive):
        raise
    except Exception as error:
        kinds = ", ".join(sorted(inputs.keys() - _WORDS))
        raise no_probe(module, f"its forward takes {kinds} in no known shape") from error


def no_probe(module: nn.Module, reason: str) -> NoProbe:
    """Say that no input of a network can be drawn, and what decides instead."""
    return NoProbe(f"there is no probe for {type(module).__name__}: {reason}", fix=_OWN_PROBE)


def continues_texts(module: nn.Module) -> bool:
    """Return whether a network continues texts by itself, and by words alone."""
    if not isinstance(module, PreTrainedModel) or module.main_input_name != "input_ids":
        return False
    takes = parameters_of(module)
    is_bound = "image_attention_mask" in takes or _is_given_decoder_ids(module, takes)  # no forward on words alone
    return not is_bound and module.can_generate() and not module.config.is_encoder_decoder


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
        _check_tokens(token_ids, count_tokens(module.config.get_text_config()))
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
