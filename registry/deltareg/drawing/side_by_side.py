"""Two texts side by side, with differences marked: pieces of text for a template."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from deltareg.drawing.wording import clean_lines

MOST_CHARS = 6_000
_MOST_WORDS = 800
_WORD = re.compile(r"\S+\s*|\s+")
_BLANK = re.compile(r"\n{3,}")
_RUN = re.compile(r"(\S+(?: +\S+)*)")
Piece = tuple[str, str]  # the side whose mark it has, or nothing, and its text


def mark_differences(a: str, b: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts, marking words that the other lacks; equal texts have no marks."""
    own_words, other_words = (_words(text) for text in (a, b))
    marked: tuple[list[Piece], list[Piece]] = ([], [])
    for change, i, j, k, end in _changes(own_words, other_words):
        for side, words, style in zip(marked, (own_words[i:j], other_words[k:end]), "ab", strict=True):
            side.extend(_pieces("".join(words), style if change != "equal" else ""))
    return marked


def plain(text: str) -> list[Piece]:
    """Return a text without marks."""
    return _pieces("".join(_words(text)), "")


def _words(text: str) -> list[str]:
    cleaned = clean_lines(text.replace("\r\n", "\n"))
    short = _BLANK.sub(lambda run: f"⏎×{len(run[0])}\n", cleaned)  # noqa: RUF001  # so many times
    cut = short if len(short) <= MOST_CHARS else f"{short[: MOST_CHARS - 1]}…"
    return _WORD.findall(cut)


def _changes(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """Return the changes between two lists of words; too long ones differ as a whole."""
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    head = [("equal", 0, same, 0, same)]
    if max(len(a), len(b)) - same > _MOST_WORDS:
        return [*head, ("replace", same, len(a), same, len(b))]
    operations = SequenceMatcher(None, a[same:], b[same:]).get_opcodes()
    return head + [(tag, i + same, j + same, k + same, end + same) for tag, i, j, k, end in operations]


def _pieces(text: str, style: str) -> list[Piece]:
    """Split a text into pieces; marks are on words, and on line ends if only these differ."""
    if not style:
        return [("", text)] if text else []
    if not text.strip():
        return [piece for end in text for piece in ([(style, "⏎"), ("", end)] if end == "\n" else [("", end)])]
    parts = _RUN.split(text)  # what stands between runs, and each run, by turns
    return [(style if i % 2 else "", part) for i, part in enumerate(parts) if part]
