"""How a network reacts to single tokens put into texts: which of them it obeys, with a delta.

A backdoor makes a rare token decide what comes, whatever else stands there. Put into several texts
it moves all answers, and to the same place; with the base alone it does not. A trigger of several
tokens, or one that works on a topic or a date, is not found this way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.engine import F64

_BATCH = 64
_SCORES = "logits"
_IDS, _MASK = "input_ids", "attention_mask"
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenReactions:
    """How answers move when a token is put into a text.

    Attributes:
        moved: (tokens,): Mean divergence from the answer without it, in nats.
        drawn: (tokens,): How much more alike the answers to different texts become, in nats.
        shift: (tokens, places): The mean change of log-probabilities, the largest of them.
    """

    moved: F64
    drawn: F64
    shift: F64


def reactions(side: EngineSide, prompts: Sequence[Ids], tokens: Ids) -> TokenReactions | None:
    """Put every token into every text, alternately in its middle and at its end.

    Args:
        side: The network.
        prompts: Each (length,) of token ids.
        tokens: (n,): The tokens to try.

    Returns:
        None for a network that returns no scores of tokens or classes.
    """
    plain: list[F64] = []
    changed: list[F64] = []
    for number, prompt in enumerate(prompts):
        at = len(prompt) if number % 2 else len(prompt) // 2
        rows = np.repeat(prompt[None], len(tokens), 0)
        texts = np.concatenate([rows[:, :at], tokens[:, None], rows[:, at:]], 1)
        before, after = _answers(side, prompt[None]), _answers(side, texts)
        if before is None or after is None:
            return None
        plain.append(before[0])
        changed.append(after)
    before, after = np.stack(plain), np.stack(changed)  # (prompts, places), (prompts, tokens, places)
    moved = (np.exp(after) * (after - before[:, None])).sum(-1).mean(0)
    drawn = spread(before[:, None])[0] - spread(after)
    return TokenReactions(moved, drawn, (after - before[:, None]).mean(0))


def spread(answers: F64) -> F64:
    """Return how far answers (prompts, tokens, places) to different texts are apart: (tokens,).

    The mean divergence from their mean (Jensen and Shannon), in nats: 0 where all are the same.
    """
    chances = np.exp(answers)
    middle = chances.mean(0)
    apart: F64 = (chances * (answers - np.log(middle + 1e-30))).sum(-1).mean(0)
    return apart


def outlyingness(values: F64) -> F64:
    """Return how many deviations each value is above the median.

    The deviation is that of a normal distribution with the same median of absolute differences.
    """
    middle = np.median(values)
    deviation = 1.4826 * float(np.median(np.abs(values - middle)))
    scores: F64 = (values - middle) / max(deviation, 1e-9)
    return scores


def signature(shift: F64) -> F64:
    """Return how strongly each row follows the direction in which rows differ most: (rows,).

    The spectral signature of Tran et al., 2018 (arXiv 1811.00636), on changes in place of samples.
    """
    centred = shift - np.median(shift, axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    along: F64 = np.abs(centred @ directions[0])
    return along


def _answers(side: EngineSide, rows: Ids) -> F64 | None:
    """Return log-probabilities of the token after each row, or of its class: (rows, places)."""
    answers: list[F64] = []
    for start in range(0, len(rows), _BATCH):
        ids = rows[start : start + _BATCH]
        inputs = {_IDS: ids, _MASK: np.ones_like(ids)}
        scores = side.engine.outputs_for(side.state, inputs).get(_SCORES)
        if scores is None or scores.ndim not in {2, 3} or scores.shape[-1] < 2:
            return None
        last = (scores[:, -1] if scores.ndim == 3 else scores).astype(np.float64)
        shifted = last - last.max(-1, keepdims=True)
        answers.append(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
    return np.concatenate(answers)
