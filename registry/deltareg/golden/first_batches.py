"""Checks the first batches of a training: what the network is shown and how it begins.

A hook on the network's forward counts and then removes itself. It keeps none of the data, and never
ends a training. Its findings are reported at once, and recorded beside golden outputs.
"""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deltareg.suites.training_start import IGNORED, BatchCounts, Form, Ids, TrainingStart, shown_in

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

log = logging.getLogger(__name__)
BATCHES = 4
_MOST_ROWS = 64
_MOST_PLACES, _APART = 128, 4  # of a row; how far two labels of a pair stand apart
_FORMS: Mapping[str, Form] = {
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForConditionalGeneration": "causal",
    "ForMaskedLM": "gaps",
}


class FirstBatches:
    """Watches a network's first batches, and reports what is odd about them."""

    def __init__(self, network: "nn.Module", tell: Callable[[str], None] = log.warning) -> None:
        """Start watching.

        Args:
            network: The network to be trained, as the training calls it.
            tell: Called with each finding, as one line.
        """
        self._network, self._tell = network, tell
        self._shown: list[BatchCounts] = []
        self._hook: RemovableHandle | None = network.register_forward_hook(self._look, with_kwargs=True)

    @property
    def start(self) -> TrainingStart | None:
        """What was observed; None if nothing was, or while more is to come."""
        if self._hook is not None or not self._shown:
            return None
        return TrainingStart.of(self._shown, form_of(self._network))

    def stop(self) -> None:
        """Stop watching, and report what was odd so far."""
        if self._hook is None:
            return
        self._hook.remove()
        self._hook = None
        for one in [] if self.start is None else self.start.oddities:
            self._tell(f"the first batches of this training are odd: {one.description}; {one.fix}")

    def _look(self, network: "nn.Module", _: object, given: Mapping[str, object], answer: object) -> None:
        if not network.training:  # an evaluation before the first step
            return
        try:
            self._shown.append(shown_to(network, given, answer))
        except Exception as error:  # noqa: BLE001  # a model takes what it likes, and ends no training
            log.debug("the first batches are not looked at: %s", error)
            self.stop()
        if len(self._shown) >= BATCHES:
            self.stop()


def form_of(network: "nn.Module") -> Form:
    """Return how a network learns from labels, by its config and its class."""
    inner = _innermost(network)
    name = type(inner).__name__
    own_form: Form = "other"
    for end, form in _FORMS.items():
        if name.endswith(end):
            own_form = form
            break
    is_paired = bool(getattr(getattr(inner, "config", None), "is_encoder_decoder", False))
    return "paired" if is_paired and own_form == "causal" else own_form


def shown_to(network: "nn.Module", given: Mapping[str, object], answer: object) -> BatchCounts:
    """Count what is in one batch.

    Args:
        network: The network.
        given: The arguments of its forward, by parameter.
        answer: The result of the forward.
    """
    config, form = getattr(_innermost(network), "config", None), form_of(network)
    labels = _ids(given.get("labels"))
    ends = _ends(config)
    padding = getattr(config, "pad_token_id", None)
    choices = 0 if labels is None or form == "other" else _choices(answer)
    counts = shown_in(
        _ids(given.get("input_ids")),
        labels,
        mask=_ids(given.get("attention_mask")),
        form=form,
        padding=padding if isinstance(padding, int) and padding not in ends else None,
        end=ends,
        loss=_loss(given, answer) if choices else None,
        choices=choices,
        farthest_pixel=_farthest(given.get("pixel_values")),
    )
    pairs, matched = (0, 0) if labels is None or not choices else _pairs(answer, labels, form, ends)
    # Of images with the same few words no two rows need be equal.
    marks = counts.marks if _has_words_alone(given) else ()
    return replace(counts, pairs=pairs, matched=matched, marks=marks)


def _innermost(network: "nn.Module") -> "nn.Module":
    """Return the network inside wrappers for several devices and of peft."""
    network = cast("nn.Module", getattr(network, "module", network))
    inner = getattr(network, "get_base_model", None)
    return cast("nn.Module", inner()) if callable(inner) else network


def _has_words_alone(given: Mapping[str, object]) -> bool:
    import torch

    return not any(
        isinstance(one, torch.Tensor) and one.is_floating_point() and one.dim() > 1 for one in given.values()
    )


def _ids(value: object) -> Ids | None:
    """Return the whole numbers, (rows, n), of some rows; None for anything else."""
    import torch

    if not isinstance(value, torch.Tensor) or value.is_floating_point() or value.dim() != 2:
        return None
    ids = value.detach()[:_MOST_ROWS].to("cpu", torch.int64)
    return cast("Ids", ids.numpy())


def _ends(config: object) -> Sequence[int]:
    ends = getattr(config, "eos_token_id", None)
    if isinstance(ends, int):
        return (ends,)
    return tuple(one for one in ends if isinstance(one, int)) if isinstance(ends, list) else ()


def _choices(answer: object) -> int:
    """Return how many tokens a network chooses among; 0 if it returns no scores."""
    logits = _part(answer, "logits")
    shape = cast("Sequence[int]", getattr(logits, "shape", ()))
    return int(shape[-1]) if len(shape) == 3 else 0


def _pairs(answer: object, labels: Ids, form: Form, ends: Sequence[int]) -> tuple[int, int]:
    """Count pairs of labels of a row, and those that are likelier at their places than exchanged.

    For labels y, z at places s, t that is l_s(y) + l_t(z) > l_s(z) + l_t(y), in which neither the
    normalisation of the logits l nor how common a token is remains. Of data that a network knows
    nothing of, half match. Ends do not count: their place is known in any language.

    Returns:
        The number of pairs, and of those that match.
    """
    import torch

    logits = cast("torch.Tensor", _part(answer, "logits")).detach()[: len(labels), -labels.shape[1] :]
    places = labels[:, 1:] if form == "causal" else labels
    pairs = matched = 0
    for row, own in enumerate(places):
        at = np.flatnonzero((own != IGNORED) & ~np.isin(own, list(ends)))[:_MOST_PLACES]
        if len(at) < 2:
            continue
        tokens = torch.from_numpy(own[at]).to(logits.device)
        # scores[s, t]: what the network gives at place s for the label of place t.
        scores = logits[row, torch.from_numpy(at).to(logits.device)][:, tokens].float()
        kept, new = scores.diagonal(), torch.arange(len(at), device=logits.device)
        for apart in range(1, min(_APART, len(at) - 1) + 1):
            other = (new + apart) % len(at)
            gain = kept + kept[other] - scores[new, other] - scores[other, new]
            differs = tokens != tokens[other]
            pairs += int(differs.sum())
            matched += int(((gain > 0) & differs).sum())
    return pairs, matched


def _loss(given: Mapping[str, object], answer: object) -> float | None:
    """Return the loss per label.

    A Trainer divides the sum by the labels of all batches that it accumulates.
    """
    loss = _part(answer, "loss")
    if loss is None:
        return None
    value = float(cast("torch.Tensor", loss).detach())
    among = given.get("num_items_in_batch")
    if among is None:
        return value
    own = int((cast("torch.Tensor", given["labels"]) != IGNORED).sum())
    return value * float(cast("Any", among)) / own if own else None


def _part(answer: object, name: str) -> object:
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)


def _farthest(pixels: object) -> float:
    import torch

    if not isinstance(pixels, torch.Tensor) or not pixels.numel():
        return 0.0
    return float(pixels.detach()[:_MOST_ROWS].abs().max())
