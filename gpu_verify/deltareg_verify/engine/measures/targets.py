"""How likely the text is that belongs to a sample: a translation, a transcript, an answer."""

from collections.abc import Sequence

import numpy as np

from deltareg.suites.probe_set import Samples
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.continuing import Inputs
from deltareg_verify.engine.engine import DeltaEngine, Tokenizer

_LOSS = "loss"
_START = "decoder_start_token_id"


def target_likelihoods(side: EngineSide, samples: Samples) -> list[object] | None:
    """Give, of every sample, how likely its target is, in nats, and of how many tokens it is.

    An encoder-decoder is given the sample and asked for its own loss on the target; a network that
    goes on with words is given both, one after another. None of other networks.
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
    """Give one sample as inputs of a network; None of a text where there is no tokenizer."""
    if samples.texts:
        return engine.encode([samples.texts[row]])
    return {name: value[row : row + 1] for name, value in samples.arrays.items()}


def following(words: Tokenizer, text: str, target: str) -> tuple[Sequence[int], Sequence[int]]:
    """Cut a text and what follows it as they are cut when they stand together, where that goes."""
    before, whole = words.encode(text), words.encode(f"{text}{target}")
    if before and before[-1] == words.end and len(before) > 1:  # the mark of an end, put there
        before, whole = before[:-1], whole[:-1]
    if whole[: len(before)] == before and len(whole) > len(before):
        return before, whole[len(before) :]
    return before, words.encode(target, special=False)


def _labels(engine: DeltaEngine, vocabulary: Tokenizer, target: str) -> list[int]:
    """Cut a target as libraries train on it: without the mark that the decoder starts from."""
    tokens = vocabulary.encode(target)
    start = engine.config.get(_START)
    return tokens[1:] if len(tokens) > 1 and tokens[0] == start else tokens
