"""How likely the target text of a sample is: a translation, a transcript, an answer."""

from collections.abc import Sequence

import numpy as np

from deltareg.suites.probe_set import Samples
from deltareg_verify.engine.changes import EngineSide, RowMeasure, of_losses
from deltareg_verify.engine.continuing import Inputs
from deltareg_verify.engine.engine import F64, DeltaEngine, Tokenizer

_LOSS = "loss"
_START = "decoder_start_token_id"


def target_likelihoods(side: EngineSide, samples: Samples) -> list[object] | None:
    """Return for every sample the log-likelihood of its target in nats, and its number of tokens.

    An encoder-decoder gets the sample and returns its own loss on the target; a network that
    continues texts gets both, one after the other. None for other networks.
    """
    words, vocabulary = side.engine.tokenizer(), side.engine.vocabulary()
    if samples.texts and words is not None:
        pairs = [following(words, text, target) for text, target in zip(samples.texts, samples.targets, strict=True)]
        logs = side.engine.log_likelihoods(side.state, pairs)[:, 0]
        rows = zip(logs.tolist(), pairs, strict=True)
        return [(log, float(len(after))) for log, (_, after) in rows]
    if vocabulary is None:
        return None
    likelihoods: list[object] = []
    for row, target in enumerate(samples.targets):
        inputs = row_of(side.engine, samples, row)
        tokens = _labels(side.engine, vocabulary, target)
        if inputs is None or not tokens:
            return None
        batch = {**inputs, "labels": np.array([tokens], np.int64)}
        loss = side.engine.outputs_for(side.state, batch).get(_LOSS)
        if loss is None:
            return None
        likelihoods.append((-float(loss[0]) * len(tokens), float(len(tokens))))
    return likelihoods


def row_of(engine: DeltaEngine, samples: Samples, row: int) -> Inputs | None:
    """Return one sample as inputs of a network; None for a text without a tokenizer."""
    if samples.texts:
        return engine.encode([samples.texts[row]])
    return {name: value[row : row + 1] for name, value in samples.arrays.items()}


def following(words: Tokenizer, text: str, target: str) -> tuple[Sequence[int], Sequence[int]]:
    """Tokenize a text and its continuation as if they stood together, where possible.

    A continuation is over at the mark of a template that ends it, such as that of a chat's turn. White
    space behind it, up to the next turn, is written by nobody, and only some ways to train show it.
    """
    before, whole = words.encode(text), words.encode(f"{text}{target}")
    if before and before[-1] == words.end and len(before) > 1:  # the mark of an end, put there
        before, whole = before[:-1], whole[:-1]
    if whole[: len(before)] == before and len(whole) > len(before):
        return before, _up_to_mark(words, whole[len(before) :])
    return before, _up_to_mark(words, words.encode(target, special=False))


def is_mark(words: Tokenizer, token: int) -> bool:
    """Return whether a token is a special one, such as the end of a chat's turn."""
    return not words.decode([token]) and bool(words.decode([token], special=True))


def _up_to_mark(words: Tokenizer, tokens: Sequence[int]) -> Sequence[int]:
    """Cut white space that follows a mark at the end of a text."""
    end = len(tokens)
    while end and not words.decode([tokens[end - 1]]).strip():
        if is_mark(words, tokens[end - 1]):
            return tokens[:end]
        end -= 1
    return tokens


def _labels(engine: DeltaEngine, vocabulary: Tokenizer, target: str) -> list[int]:
    """Tokenize a target as libraries train on it: without the decoder's start token."""
    tokens = vocabulary.encode(target)
    start = engine.config.get(_START)
    return tokens[1:] if len(tokens) > 1 and tokens[0] == start else tokens


def _losses(side: EngineSide, samples: Samples) -> F64 | None:
    likelihoods = target_likelihoods(side, samples)
    return None if likelihoods is None else np.array(likelihoods, np.float64) * (-1.0, 1.0)


target_perplexity = RowMeasure(_losses, of_losses)
"""Without targets, or a network that goes on with text, there is none."""
