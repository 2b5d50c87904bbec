"""How a network goes on with a text: greedily, to its end or to a number of tokens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg_verify.engine import Engine, State, Tokenizer

Inputs = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Written:
    """What a network wrote.

    Attributes:
        tokens: Without the mark that ends it.
        text: The same as text.
        is_over: Whether it came to an end by itself.
    """

    tokens: tuple[int, ...]
    text: str
    is_over: bool


def continued(engine: Engine, state: State, text: str, count: int) -> tuple[list[int], str] | None:
    """Continue a text greedily up to its end, or by so many tokens; gives ids and words.

    Of a text that leaves no room for them the end is taken. None without a generative head or
    a tokenizer.
    """
    found = continuation(engine, state, text, count)
    return None if found is None else (list(found.tokens), found.text)


def continuation(engine: Engine, state: State, text: str, count: int) -> Written | None:
    """The same, with whether it came to an end by itself."""
    tokenizer = engine.tokenizer()
    if tokenizer is None:
        return None
    encoded = tokenizer.encode(text)[-max(tokenizer.most - count, 1) :]
    found = engine.follow(state, encoded, count, is_over=lambda added: added[-1] == tokenizer.end)
    return ended(found, tokenizer, {tokenizer.end})


def ended(tokens: Sequence[int], tokenizer: Tokenizer, ends: Collection[int | None]) -> Written:
    """Give what was written without the mark that ends it, whichever of some it is."""
    is_over = bool(tokens) and tokens[-1] in ends
    kept = tokens[:-1] if is_over else tokens
    return Written(tuple(kept), tokenizer.decode(kept, special=True), is_over)


def answer(engine: Engine, state: State, text: str, count: int) -> Written | None:
    """Write what belongs to a text: an encoder-decoder its output, others what comes next.

    None of a network that does not write, or without a tokenizer.
    """
    found = continuation(engine, state, text, count)
    if found is not None:
        return found
    inputs = engine.encode([text])
    return None if inputs is None else written(engine, state, inputs, count)


def written(engine: Engine, state: State, inputs: Inputs, count: int) -> Written | None:
    """Write what belongs to one row of inputs; None as above."""
    tokens = engine.write(state, inputs, count)
    vocabulary = engine.vocabulary()
    if tokens is None or vocabulary is None:
        return None
    return Written(tuple(tokens), vocabulary.decode(tokens), len(tokens) < count)
