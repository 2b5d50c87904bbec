"""What the answers of rows look like, from which it follows how they are judged.

A short answer is right or wrong. Perplexity per token hardly tells which, as most of its tokens are
the form that all answers share. A long one has no other of its kind to be held beside, and how
likely it is says nothing of what would be written in its place.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deltareg.suites.drafting.repeated_rows import words_of

AnswerForm = Literal["same", "few", "short", "long", "mixed"]

OTHERS = 3
"""How many answers of other samples the right one is held beside, at most."""
_SHORT_WORDS, _SHORT_LETTERS = 6, 48
_WIDE = 3  # letters of a Latin word that one of Chinese, Japanese or Korean stands for, about
_MOST_FEW, _ROWS_EACH = 50, 4
_ALMOST_ALL = 0.9


@dataclass(frozen=True, slots=True)
class AnswerLook:
    """What the answers of rows look like.

    Attributes:
        form: The `same` for all, `few` different ones, `short`, `long`, or `mixed`.
        why: For people: what was seen, and how they are judged therefore.
        guess: The share of the commonest answer: what saying always the same would get right.
        options: How many answers a sample is to choose from.
    """

    form: AnswerForm
    why: str
    guess: float
    options: int


def look_at(answers: Sequence[str]) -> AnswerLook:
    """Look at the answers of rows.

    Args:
        answers: One a row; at least one.
    """
    counts = Counter(" ".join(words_of(one)) for one in answers)
    commonest = counts.most_common(1)[0][1]
    short = sum(map(_is_short, answers)) / len(answers)
    form = _form(len(counts), len(answers), short)
    seen = {
        "same": "the same answer on all rows",
        "few": f"{len(counts)} different answers",
        "short": "short answers",
        "long": "long answers",
        "mixed": f"short and long answers ({round(100 * short)} % short)",
    }[form]
    return AnswerLook(form, f"{seen}: {_JUDGED[form]}", commonest / len(answers), min(len(counts), OTHERS + 1))


_JUDGED: dict[AnswerForm, str] = {
    "same": "judged by perplexity, and by the length and repetition of what is written",
    "few": "judged by how probable the right one is among the others, and by what is written",
    "short": "judged by how probable the right one is among some others, and by what is written",
    "long": "judged by perplexity, and by the length and repetition of what is written",
    "mixed": "judged by perplexity, by how probable the right one is among others, and by the form of what is written",
}


def _form(different: int, rows: int, short: float) -> AnswerForm:
    if different == 1:
        return "same"
    if different <= min(_MOST_FEW, max(2, rows // _ROWS_EACH)):
        return "few"
    if short >= _ALMOST_ALL:
        return "short"
    return "long" if short <= 1 - _ALMOST_ALL else "mixed"


def _is_short(answer: str) -> bool:
    letters = sum(_WIDE if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in answer.strip())
    return letters <= _SHORT_LETTERS and len(words_of(answer)) <= _SHORT_WORDS
