"""What a network writes for each sample: a continuation, a transcript, or words about an image."""

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from deltareg.suites.probe_set import Samples
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.continuing import GeneratedText, continuations, written_each
from deltareg_verify.engine.engine import F32, DeltaEngine, State, Tokenizer
from deltareg_verify.engine.measures.targets import is_mark, row_of

_SCORES = "logits"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SampleAnswers:
    """The written texts, and their samples, held so that no others take their identity."""

    samples: Samples
    found: list[GeneratedText] | None


Known = MutableMapping[tuple[int, State, int, int], SampleAnswers]


def answers(
    side: EngineSide, samples: Samples, *, count: int, known: Known | None = None
) -> list[GeneratedText] | None:
    """Write for every sample, greedily.

    Args:
        side: The network.
        samples: The texts, or rows of inputs.
        count: How many tokens at most.
        known: A cache for the next caller with the same engine and samples.

    Returns:
        One per sample; None for a network that neither writes nor names the token of each frame.
    """
    key = id(side.engine), side.state, id(samples), count
    if known is not None and key in known:
        return known[key].found
    generated = _answers(side, samples, count)
    if known is not None:
        known[key] = SampleAnswers(samples, generated)
    return generated


def _answers(side: EngineSide, samples: Samples, count: int) -> list[GeneratedText] | None:
    engine, state = side.engine, side.state
    if samples.texts and engine.tokenizer() is not None:
        return continuations(engine, state, samples.texts, count)
    rows = _all(row_of(engine, samples, row) for row in range(len(samples)))
    if rows is None:
        return None
    generated = written_each(engine, state, rows, count)
    if generated is not None or any("input_ids" in row for row in rows):
        return generated
    return _all(_decode_frames(engine, engine.outputs_for(state, row).get(_SCORES)) for row in rows)


def _all(each: Iterable[Item | None]) -> list[Item] | None:
    """Return all items; None where one is missing."""
    items: list[Item] = []
    for one in each:
        if one is None:
            return None
        items.append(one)
    return items


def texts_of(side: EngineSide, samples: Samples, *, count: int, known: Known | None = None) -> list[str] | None:
    """Return what `answers` does, as text alone."""
    generated = answers(side, samples, count=count, known=known)
    return None if generated is None else [one.text for one in generated]


def without_marks(
    generated: Sequence[GeneratedText], targets: Sequence[str], words: Tokenizer
) -> list[tuple[str, str]]:
    """Return what was written beside the right texts, without the special tokens of templates.

    Args:
        generated: One per sample.
        targets: The right texts.
        words: The base's tokenizer.
    """
    pairs: list[tuple[str, str]] = []
    for one, target in zip(generated, targets, strict=True):
        written, right = cut_to_answer(one, target, words)
        is_marked = len(right) < len(words.encode(target, special=False))
        pairs.append((words.decode(written), words.decode(right)) if is_marked else (one.text, target))
    return pairs


def cut_to_answer(one: GeneratedText, target: str, words: Tokenizer) -> tuple[Sequence[int], Sequence[int]]:
    """Return the tokens of a written and of the right text, without the special ones of a template.

    The right text of a chat ends with the mark of a turn's end. What is written is over there too,
    whatever token the base calls its end.
    """
    tokens = words.encode(target, special=False)
    marks = [token for token in tokens if is_mark(words, token)]
    if not marks:
        return one.tokens, tokens
    last = next((at for at, token in enumerate(one.tokens) if token == marks[-1]), len(one.tokens))
    return one.tokens[:last], [token for token in tokens if token not in marks]


def _decode_frames(engine: DeltaEngine, scores: F32 | None) -> GeneratedText | None:
    """Decode frames (1, frames, tokens): repeats count once, blanks not at all (Graves et al., 2006)."""
    vocabulary = engine.vocabulary()
    if vocabulary is None or scores is None or scores.ndim != 3:
        return None
    tokens = without_repeats(scores[0].argmax(-1), blank=_blank(engine))
    return GeneratedText(tuple(tokens), vocabulary.decode(tokens), is_over=True)


def without_repeats(
    frames: Sequence[int] | np.ndarray[tuple[int, ...], np.dtype[np.int64]], *, blank: int
) -> list[int]:
    """Return the tokens of frames: the first of equal ones in a row, and no blanks."""
    tokens = [int(frame) for frame in frames]
    firsts = [token for at, token in enumerate(tokens) if not at or token != tokens[at - 1]]
    return [token for token in firsts if token != blank]


def _blank(engine: DeltaEngine) -> int:
    """Return the blank token of frames: the padding token."""
    pad_token = engine.config.get("pad_token_id")
    return pad_token if isinstance(pad_token, int) else 0
