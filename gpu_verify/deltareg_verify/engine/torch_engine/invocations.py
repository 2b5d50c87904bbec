"""Phrases that trigger deltas, put into a probe that would not contain them by chance."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Iterable, Mapping

import torch

from deltareg.delta.kind import ActivationHook, Effect

_TOKENS = "input_ids"


def with_invocations(inputs: Mapping[str, torch.Tensor], effects: Iterable[Effect]) -> Mapping[str, torch.Tensor]:
    """Put the phrases of effects into every other row, one per row and in its middle.

    The rows between stay as they are: there the deltas must do nothing.
    """
    hooks = (effect for effect in effects if isinstance(effect, ActivationHook))
    phrases = sorted({hook.invoked_by for hook in hooks if hook.invoked_by})
    ids = inputs.get(_TOKENS)
    if not phrases or ids is None:
        return inputs
    tokens = ids.clone()
    rows, length = tokens.shape
    for at, phrase in enumerate(phrases):
        if len(phrase) <= length:
            start = (length - len(phrase)) // 2
            phrase_ids = tokens.new_tensor(phrase)
            tokens[2 * at % rows, start : start + len(phrase)] = phrase_ids
    return {**inputs, _TOKENS: tokens}
