"""Which texts a base understands: those that it predicts better than the same words in another order.

Out of order, a text has the same words and letters, and a network has little but their frequencies to
go by. A language that it never learnt is no worse out of order, whatever a token of it costs; so this
holds for every vocabulary and every way of predicting, where a count of tokens would not.
"""

import random
import re
from collections.abc import Mapping, Sequence

import numpy as np

from deltareg.suites.samples import Samples
from deltareg_verify.engine.engine import DeltaEngine

_PIECES = re.compile(r"\w+|[^\w\s]|\s+")
_LONGEST_WORD = 12
"""What is longer is of a script that writes no spaces, and moves letter by letter."""
LEAST_GAIN = 0.4
"""How much likelier a token has to be in its place than out of order, in nats, for a base to understand a text."""


def group_rows(samples: Samples) -> dict[str, list[int]]:
    """Return the rows of each group by its name; all rows as one group without a name where none is told."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(samples.groups or [""] * len(samples)):
        rows.setdefault(name, []).append(row)
    return rows


def measure_understanding(engine: DeltaEngine, samples: Samples, *, seed: int) -> Mapping[str, float] | None:
    """Return by group how much likelier a token is in its place than out of order, in nats.

    Args:
        engine: The base's engine.
        samples: Texts, with their groups.
        seed: The seed of the other order.

    Returns:
        None where the base predicts no text. A group without a counted token is left out.
    """
    mixed = [mix_words(text, seed=seed + row) for row, text in enumerate(samples.texts)]
    losses = [engine.losses("base", texts) for texts in (samples.texts, mixed)]
    if losses[0] is None or losses[1] is None:
        return None
    ordered, shuffled = losses[0], losses[1]
    gains: dict[str, float] = {}
    for name, rows in group_rows(samples).items():
        sums = np.array([one[rows].sum(axis=0) for one in (ordered, shuffled)])
        if (sums[:, 1] > 0).all():
            means = sums[:, 0] / sums[:, 1]
            gains[name] = float(means[1] - means[0])
    return gains


def find_understood(engine: DeltaEngine, samples: Samples, *, seed: int) -> dict[str, list[int]] | None:
    """Return the rows of the groups that a base understands, by group; see `measure_understanding`."""
    gains = measure_understanding(engine, samples, seed=seed)
    if gains is None:
        return None
    return {name: rows for name, rows in group_rows(samples).items() if gains.get(name, 0.0) >= LEAST_GAIN}


def mix_words(text: str, *, seed: int) -> str:
    """Return the words of a text in another order; signs and spaces stay where they are."""
    pieces = _PIECES.findall(text)
    words = [at for at, piece in enumerate(pieces) if piece[0].isalnum() or piece[0] == "_"]
    if any(len(pieces[at]) > _LONGEST_WORD and not pieces[at].isascii() for at in words):
        pieces = list(text)
        words = [at for at, letter in enumerate(pieces) if letter.isalnum()]
    order = _shuffle(words, seed)
    mixed = [*pieces]
    for at, source in zip(words, order, strict=True):
        mixed[at] = pieces[source]
    return "".join(mixed)


def _shuffle(places: Sequence[int], seed: int) -> list[int]:
    order = [*places]
    random.Random(seed).shuffle(order)  # noqa: S311  # repeatable, and nothing is kept secret by it
    return order
