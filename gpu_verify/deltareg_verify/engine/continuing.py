"""How a network continues a text: greedily, to its end or by a number of tokens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg_verify.engine.engine import DeltaEngine, State, Tokenizer

Inputs = Mapping[str, NDArray[np.generic]]
_MOST_TOGETHER = 16  # rows in one go: images and sounds take room


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A text that a network wrote.

    Attributes:
        tokens: Its tokens, without the end token.
        text: Its text.
        is_over: Whether it ended by itself.
    """

    tokens: tuple[int, ...]
    text: str
    is_over: bool


def continue_text(engine: DeltaEngine, state: State, text: str, count: int) -> tuple[list[int], str] | None:
    """Continue a text greedily up to its end, or by `count` tokens; returns ids and words.

    A text that leaves no room for them is cut to its end. None without a generative head or a
    tokenizer.
    """
    generated = continuation(engine, state, text, count)
    return None if generated is None else (list(generated.tokens), generated.text)


def continuation(engine: DeltaEngine, state: State, text: str, count: int) -> GeneratedText | None:
    """Continue a text like `continue_text`, and report whether it ended by itself."""
    tokenizer = engine.tokenizer()
    if tokenizer is None:
        return None
    encoded = tokenizer.encode(text)[-max(tokenizer.most - count, 1) :]
    tokens = engine.follow(state, encoded, count, is_over=lambda added: added[-1] == tokenizer.end)
    return strip_end(tokens, tokenizer, {tokenizer.end})


def continuations(engine: DeltaEngine, state: State, texts: Sequence[str], count: int) -> list[GeneratedText] | None:
    """Continue several texts as `continuation` does each."""
    tokenizer = engine.tokenizer()
    if tokenizer is None:
        return None
    encoded = [tokenizer.encode(text)[-max(tokenizer.most - count, 1) :] for text in texts]
    written = engine.follow_all(state, encoded, count, end=tokenizer.end)
    return [strip_end(tokens, tokenizer, {tokenizer.end}) for tokens in written]


def strip_end(tokens: Sequence[int], tokenizer: Tokenizer, ends: Collection[int | None]) -> GeneratedText:
    """Return the written text without its end token, whichever of `ends` that is."""
    is_over = bool(tokens) and tokens[-1] in ends
    text_tokens = tokens[:-1] if is_over else tokens
    return GeneratedText(tuple(text_tokens), tokenizer.decode(text_tokens, special=True), is_over)


def written_each(engine: DeltaEngine, state: State, rows: Sequence[Inputs], count: int) -> list[GeneratedText] | None:
    """Write the output for each of several inputs; inputs of one length run together.

    None for a network that does not write, or without a tokenizer. Inputs of several lengths would
    need padding, which not every network accepts.
    """
    vocabulary = engine.vocabulary()
    if vocabulary is None:
        return None
    tokens: dict[int, list[int]] = {}
    for places in _alike(rows):
        together = {n: np.concatenate([rows[at][n] for at in places]) for n in rows[places[0]]}
        written = engine.write(state, together, count)
        if written is None:
            return None
        tokens.update(zip(places, written, strict=True))
    ordered = [tokens[at] for at in range(len(rows))]
    return [GeneratedText(tuple(row), vocabulary.decode(row), len(row) < count) for row in ordered]


def _alike(rows: Sequence[Inputs]) -> list[list[int]]:
    """Return the places of inputs that have one shape, a few at a time."""
    by_shape: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
    for at, row in enumerate(rows):
        by_shape.setdefault(tuple((n, v.shape) for n, v in sorted(row.items())), []).append(at)
    return [
        places[start : start + _MOST_TOGETHER]
        for places in by_shape.values()
        for start in range(0, len(places), _MOST_TOGETHER)
    ]
