"""Figures of a network on its base's probes: its predictions, and whether batching changes them.

Forwards are a large part of a verification's cost: the general probes take one, and the effect of
batching is measured on a few short rows.
"""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from deltareg.delta.kind import ActivationHook, Effect, PrefixInsert
from deltareg.suites.base_probes import BaseProbes
from deltareg_verify.engine.torch_engine.batching import LENGTHS, BatchCapabilities, deviations
from deltareg_verify.engine.torch_engine.forward import forward
from deltareg_verify.engine.torch_engine.general import (
    GeneralProbes,
    general_inputs,
    losses_by_text,
    measure,
    pad_of,
    shift_tokens_right,
)
from deltareg_verify.engine.torch_engine.networks.calling import Result, parameters_of
from deltareg_verify.engine.torch_engine.prefix_cache import CACHE_NAMES, name_of_cache, takes_cache
from deltareg_verify.messages.figures import Figures, ProbeLoss


@dataclass(frozen=True, slots=True)
class JudgedNetwork:
    """A network, and the facts about it that its figures need.

    Attributes:
        module: The network.
        tokenizer: The base's.
        is_causal: Whether it continues texts.
        most: How many tokens it takes at once.
        probe: Returns the seeded probe, for a network that takes nothing of the base's probes.
        effects: The effects of a delta on it.
    """

    module: nn.Module
    tokenizer: PreTrainedTokenizerBase | None
    is_causal: bool
    most: int
    probe: Callable[[], Mapping[str, torch.Tensor]]
    effects: Sequence[Effect]

    def inputs(self, probes: BaseProbes) -> GeneralProbes:
        """Return the general probes as inputs."""
        general = general_inputs(self.module, self.tokenizer, probes, is_causal=self.is_causal, most=self.most)
        return general or GeneralProbes("other", self.probe())


Found = TypeVar("Found")
Judge = Callable[[JudgedNetwork, GeneralProbes], Found]
"""What judges a network that is in the state to be judged, on the general probes as its inputs."""


def figures_of(judged: JudgedNetwork, general: GeneralProbes, *, ways: Collection[str] | None = None) -> Figures:
    """Measure the figures of a network in its current state.

    Args:
        judged: The network.
        general: The general probes as its inputs.
        ways: The ways of batching to try; None tries all and leaves out what does not run.
    """
    run = partial(forward, judged.module)
    figures = measure(general, run)
    texts = _texts(general)
    if len(texts) < len(LENGTHS) or (ways is not None and not ways):
        return figures
    return replace(figures, batching=deviations(texts, run, _ways(judged, general), only=ways))


def text_losses(judged: JudgedNetwork, general: GeneralProbes) -> list[tuple[str, ProbeLoss]]:
    """Measure the loss of each general text, with its class; empty where the network predicts no text."""
    return losses_by_text(general, partial(forward, judged.module))


def _texts(general: GeneralProbes) -> list[list[int]]:
    """Return the tokens of the first texts that are long enough; empty without texts."""
    if general.way == "other":
        return []
    ids, mask = general.inputs["input_ids"], general.inputs["attention_mask"]
    rows = [row[row_mask == 1].tolist() for row, row_mask in zip(ids, mask, strict=True)]
    return [row for row in rows if len(row) >= max(LENGTHS)][: len(LENGTHS)]


def _ways(judged: JudgedNetwork, general: GeneralProbes) -> BatchCapabilities:
    module = cast(PreTrainedModel, judged.module)
    # What stands before a text, waits for a phrase or acts on its first and last places is served
    # by rules of its own: with a cache, every token is the last one of its time.
    is_placed = any(
        isinstance(e, PrefixInsert) or (isinstance(e, ActivationHook) and (e.invoked_by or e.is_placed))
        for e in judged.effects
    )
    takes, is_causal = parameters_of(module), general.way == "causal" and not is_placed
    has_cache = getattr(module.config.get_text_config(), "use_cache", None) is not None
    is_cached = is_causal and has_cache and takes_cache(module)
    has_positions = "position_ids" in takes and general.way != "seq2seq" and not is_placed
    positions = getattr(module.config.get_text_config(), "max_position_embeddings", 0)
    return BatchCapabilities(
        pad=pad_of(judged.tokenizer),
        device=general.inputs["input_ids"].device,
        beside=partial(_beside, module, general),
        pads_left=is_causal,
        continues=partial(_continue, module) if is_cached else None,
        farthest=int(positions or 0) if has_positions else 0,
        is_apart=not _turns_by_farthest(module) and not any(isinstance(e, ActivationHook) for e in judged.effects),
    )


def _turns_by_farthest(module: PreTrainedModel) -> bool:
    """Return whether the farthest position of a batch decides by how much all of it is turned."""
    config = module.config.get_text_config()
    told = str(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None))
    return "dynamic" in told or "longrope" in told


def _beside(module: PreTrainedModel, general: GeneralProbes, ids: torch.Tensor) -> Mapping[str, torch.Tensor]:
    return {"decoder_input_ids": shift_tokens_right(module, ids)} if general.way == "seq2seq" else {}


def _continue(module: PreTrainedModel, ids: torch.Tensor, cache: object) -> tuple[Result, object]:
    call = cast("Callable[..., Mapping[str, object]]", module)
    with torch.no_grad():
        inputs = {"input_ids": ids, name_of_cache(module): cache}
        result = call(**inputs, use_cache=True, return_dict=True)
    caches = (result.get(name) for name in CACHE_NAMES)
    return result, next((one for one in caches if one is not None), None)
