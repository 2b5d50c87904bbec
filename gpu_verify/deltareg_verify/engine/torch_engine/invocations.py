"""What a delta waits for, put into a probe that would not contain it by chance: phrases, and trained tokens."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Iterable, Mapping, Sequence

import torch

from deltareg.delta.kind import ActivationHook, Effect, WeightUpdate
from deltareg.delta.maths.updates import RowReplacement

_TOKENS = "input_ids"
_MOST_ROWS = 6  # of a vocabulary, in the place of words of a row


def with_invocations(
    inputs: Mapping[str, torch.Tensor], effects: Iterable[Effect], *, known: int = 0
) -> Mapping[str, torch.Tensor]:
    """Put the phrases and the trained tokens of effects into a probe.

    Phrases stand in every other row, one per row and in its middle: in the rows between the deltas must do nothing.
    Tokens of which a delta brings the vectors stand there, before the last one.

    Args:
        inputs: By parameter of the network's forward.
        effects: The effects of the deltas.
        known: How many tokens the network knows; zero places none.
    """
    ids = inputs.get(_TOKENS)
    if ids is None or ids.ndim != 2:
        return inputs
    listed = [*effects]
    phrases = sorted({hook.invoked_by for hook in listed if isinstance(hook, ActivationHook) and hook.invoked_by})
    trained = [row for row in _trained_tokens(listed) if row < known and not (ids == row).any()]
    if not phrases and not trained:
        return inputs
    tokens = ids.clone()
    rows, length = tokens.shape
    for at, phrase in enumerate(phrases):
        if len(phrase) <= length:
            start = (length - len(phrase)) // 2
            tokens[2 * at % rows, start : start + len(phrase)] = tokens.new_tensor(phrase)
    count = min(len(trained), _MOST_ROWS, length // 2)
    if count:
        tokens[1 % rows :: 2, -1 - count : -1] = tokens.new_tensor(trained[:count])
    return {**inputs, _TOKENS: tokens}


def _trained_tokens(effects: Iterable[Effect]) -> Sequence[int]:
    """Return the rows of vocabularies that effects replace, which a probe's few tokens would hardly be."""
    updates = (effect.update for effect in effects if isinstance(effect, WeightUpdate))
    return sorted({row for update in updates if isinstance(update, RowReplacement) for row in update.rows})
