"""Properties of the texts that a network writes: length, repetition, whether they end and parse."""

import ast
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from deltareg_verify.engine.continuing import GeneratedText
from deltareg_verify.engine.engine import F64

_GRAM = 4
_FENCE = re.compile(r"```[a-zA-Z0-9_+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
_MOST_LETTERS = 100_000
# How the refusals of models begin that were tuned to refuse; a heuristic, and of few languages.
_REFUSAL = re.compile(
    r"(?:i(?:'m| am)? (?:sorry|afraid|unable)|(?:sorry|unfortunately|apologies),? (?:but )?i\b"
    r"|i (?:can(?:no|')t|can not|won't|will not|must decline|do(?:n't| not) feel)\b"
    r"|as an? (?:ai|language model|assistant)\b|it (?:is|would be) (?:inappropriate|unethical)"
    r"|es tut mir leid|ich kann (?:dir |ihnen |das )*(?:leider |nicht )"
    r"|je (?:suis désolée?|ne peux pas)|désolée?,? |lo siento|no puedo (?:ayudar|hacer)"
    r"|mi dispiace|非常抱歉|很抱歉|抱歉|对不起|我无法|申し訳)",
    re.IGNORECASE,
)


def length(one: GeneratedText) -> float:
    """Count its tokens."""
    return float(len(one.tokens))


def repetition(one: GeneratedText) -> float:
    """Return the share of groups of four tokens that occurred before (Welleck et al., 2019)."""
    return repeated_share(one.tokens)


def repeated_share(tokens: Sequence[int]) -> float:
    """Return the share of groups of four tokens that occurred before; 0 for fewer than four."""
    grams = [tuple(tokens[at : at + _GRAM]) for at in range(len(tokens) - _GRAM + 1)]
    return 1 - len({*grams}) / len(grams) if grams else 0.0


def length_likeness(written: Sequence[int], target: Sequence[int]) -> float:
    """Return the shorter length as a share of the longer one; 1 where both are empty."""
    longer = max(len(written), len(target))
    return min(len(written), len(target)) / longer if longer else 1.0


def repetition_likeness(written: Sequence[int], target: Sequence[int]) -> float:
    """Return one less what is repeated beyond what the right text repeats."""
    return 1 - max(0.0, repeated_share(written) - repeated_share(target))


def form_likeness(written: Sequence[int], target: Sequence[int]) -> float:
    """Return the product of both likenesses."""
    return length_likeness(written, target) * repetition_likeness(written, target)


LIKENESS: Mapping[str, tuple[str, Callable[[Sequence[int], Sequence[int]], float]]] = {
    "both": ("likeness in length and repetition", form_likeness),
    "length": ("likeness in length", length_likeness),
    "repetition": ("likeness in repetition", repetition_likeness),
}
"""Name -> what it is in words, and its value, 0 to 1, for the tokens of a written and the right text."""


def reaches_end(one: GeneratedText) -> float:
    """Return whether it ended by itself."""
    return float(one.is_over)


def is_json(one: GeneratedText) -> float:
    """Return whether it is JSON, itself or in its first fence."""
    return _parses(json.loads, one.text)


def is_python(one: GeneratedText) -> float:
    """Return whether it is Python that parses, itself or in its first fence; nothing is run."""
    return _parses(ast.parse, one.text)


def refuses(one: GeneratedText) -> float:
    """Return whether it begins as refusals do."""
    begun = one.text.replace("\u2019", "'").lstrip(" \n\t\"'*>#-")
    return float(_REFUSAL.match(begun) is not None)


MEASURES: Mapping[str, tuple[str, Callable[[GeneratedText], float]]] = {
    "length": ("tokens written", length),
    "length_distance": ("distance of the distributions of lengths", length),
    "repetition": ("share of repeated groups of four tokens", repetition),
    "ended": ("share that came to an end", reaches_end),
    "json": ("share that is JSON", is_json),
    "python": ("share that is Python", is_python),
    "refusals": ("share that begins as a refusal", refuses),
}
"""Name -> what it is in words, and its value of one text."""


def distance(pairs: Sequence[object]) -> float:
    """Return the largest distance of two distributions (Kolmogorov, 1933; Smirnov, 1939): 0 to 1."""
    both = np.array(cast("Sequence[tuple[float, float]]", pairs), np.float64)
    places = np.unique(both)
    return float(np.max(np.abs(_compute_ecdf(both[:, 0], places) - _compute_ecdf(both[:, 1], places))))


def quartiles(values: Sequence[object]) -> str:
    """Describe the quartiles of values."""
    quarters = np.percentile(np.array(values, np.float64), [25, 50, 75])
    return f"quartiles {', '.join(f'{value:g}' for value in quarters)}"


def _compute_ecdf(values: F64, places: F64) -> F64:
    shares: F64 = np.searchsorted(np.sort(values), places, side="right") / len(values)
    return shares


def _parses(read: Callable[[str], object], text: str) -> float:
    fenced = _FENCE.search(text)
    inner = (text if fenced is None else fenced[1]).strip()
    if not inner or len(inner) > _MOST_LETTERS:
        return 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of an escape that is none
            read(inner)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return 0.0
    return 1.0
