"""Phrases that trigger deltas, and tokens that they retrain, put into a probe that has them by no chance."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Iterable, Iterator, Mapping

import torch

from deltareg.delta.kind import ActivationHook, Effect, WeightUpdate
from deltareg.delta.maths.updates import RowReplacement

_TOKENS = "input_ids"
_MOST_TOKENS = 4


def with_invocations(inputs: Mapping[str, torch.Tensor], effects: Iterable[Effect]) -> Mapping[str, torch.Tensor]:
    """Put the phrases of effects into every other row, one per row and in its middle.

    The rows between stay as they are: there the deltas must do nothing.
    """
    phrases = sorted(set(_phrases(effects)))
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


def _phrases(effects: Iterable[Effect]) -> Iterator[tuple[int, ...]]:
    """Yield what a hook waits for, and tokens of a vocabulary that has not grown whose rows are replaced."""
    for effect in effects:
        if isinstance(effect, ActivationHook) and effect.invoked_by:
            yield effect.invoked_by
        elif isinstance(effect, WeightUpdate) and isinstance(effect.update, RowReplacement) and effect.shape is None:
            yield tuple(effect.update.rows[:_MOST_TOKENS])
