"""Finding repeated rows: among themselves, and in the training data of a delta.

A probe that was trained on shows nothing, and one that occurs twice counts twice. Two texts are the
same here if their words are, ignoring case, punctuation and spaces. A text is contained in another
if most of its stretches of words are (its shingles; Broder, 1997, "On the resemblance and
containment of documents").
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b

WORDS = 5
"""How many words a stretch has. Shorter texts are compared whole."""
CONTAINED = 0.8
"""Which share of its stretches makes a text a part of another."""
_WORD = re.compile(r"\w+")


def without_repeats(texts: Sequence[str]) -> list[int]:
    """Return the numbers of the texts that are contained in no earlier one."""
    index = TextIndex(())
    numbers: list[int] = []
    for number, text in enumerate(texts):
        if not index.holding(text):
            index.add(number, text)
            numbers.append(number)
    return numbers


def seen_in(texts: Sequence[str], training: Iterable[str]) -> set[int]:
    """Return the numbers of the texts that are contained in some text of the training data.

    Args:
        texts: The probes.
        training: The training data, text by text; iterated once and not kept.
    """
    index = TextIndex(texts)
    numbers: set[int] = set()
    for text in training:
        numbers |= index.held_by(text)
    return numbers


class TextIndex:
    """An index of texts by their words and stretches of words."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Index texts, numbered from 0."""
        self._whole: dict[bytes, list[int]] = {}
        self._stretches: dict[bytes, list[int]] = {}
        self._counts: dict[int, int] = {}
        for number, text in enumerate(texts):
            self.add(number, text)

    def add(self, number: int, text: str) -> None:
        """Add a text."""
        words = words_of(text)
        self._whole.setdefault(_digest(words), []).append(number)
        stretches = _stretches(words)
        self._counts[number] = len(stretches)
        for stretch in stretches:
            self._stretches.setdefault(stretch, []).append(number)

    def holding(self, text: str) -> bool:
        """Whether an indexed text contains this text."""
        words = words_of(text)
        if _digest(words) in self._whole:
            return True
        stretches = _stretches(words)
        hits_by_number = Counter(n for stretch in stretches for n in self._stretches.get(stretch, ()))
        return any(hits >= CONTAINED * len(stretches) for hits in hits_by_number.values())

    def held_by(self, text: str) -> set[int]:
        """Return the numbers of the indexed texts that this text contains."""
        words = words_of(text)
        same = set(self._whole.get(_digest(words), ()))
        stretches = _stretches(words)
        hits_by_number = Counter(n for stretch in stretches for n in self._stretches.get(stretch, ()))
        return same | {n for n, hits in hits_by_number.items() if hits >= CONTAINED * self._counts[n]}


def words_of(text: str) -> list[str]:
    """Return the words of a text, normalised in case and form; a text without words gives itself."""
    even = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(even) or [even.strip()]


def _stretches(words: Sequence[str]) -> set[bytes]:
    return {_digest(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)}


def _digest(words: Sequence[str]) -> bytes:
    return blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
