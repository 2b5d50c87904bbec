"""Texts in the normal form in which they are compared."""

import re
import unicodedata
from collections.abc import Callable, Mapping

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_SPACES = re.compile(r"\s+")


def plain(text: str) -> str:
    """Return words in lower case with single spaces, without punctuation."""
    letters = "".join(" " if _is_mark(letter) else letter for letter in _fold_case(text))
    return _SPACES.sub(" ", letters).strip()


def normalise_answer(text: str) -> str:
    """Return an answer as SQuAD compares it (Rajpurkar et al., 2016): without marks and articles.

    Marks leave nothing behind, so 1,000 is 1000.
    """
    letters = "".join(letter for letter in _fold_case(text) if not _is_mark(letter))
    return _SPACES.sub(" ", _ARTICLES.sub(" ", letters)).strip()


def as_it_is(text: str) -> str:
    """Return a text without its outer spaces."""
    return text.strip()


FORMS: Mapping[str, Callable[[str], str]] = {"plain": plain, "exact": as_it_is}


def _fold_case(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _is_mark(letter: str) -> bool:
    """Return whether it is punctuation or a symbol; an apostrophe within a word is part of the word."""
    return unicodedata.category(letter)[0] in "PS" and letter != "'"
