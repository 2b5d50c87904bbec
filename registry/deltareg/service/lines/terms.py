"""The search terms of a version: the words about it, and its facts.

Words are stored in lower case. A fact begins with `=`, which no word does: `=kind:lora`, `=in:ns`,
`=in:ns/name`, `=base:7`, `=label:key`, `=label:key=value`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice

from deltareg.db.lines.version_rows import VersionRow
from deltareg.documents.model_card import ModelCard

MOST_WORDS = 200
_WORD = re.compile(r"\w+")
_LENGTHS = range(2, 41)


def terms_of(row: VersionRow, card: ModelCard) -> set[str]:
    """Return all search terms of a version."""
    return set(islice(dict.fromkeys(_words_about(row, card)), MOST_WORDS)) | set(_facts(row))


def words_of(text: str) -> list[str]:
    """Split a text into words as they are searched: lower case, without separators."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("_", " ")
    return [word for word in _WORD.findall(plain) if len(word) in _LENGTHS]


def kind_term(kind: str) -> str:
    """Return the term of a kind."""
    return f"=kind:{kind}"


def place_term(place: str) -> str:
    """Return the term of a namespace or a line."""
    return f"=in:{place}"


def base_term(base_id: int) -> str:
    """Return the term of a base, by row id: its name may change."""
    return f"=base:{base_id}"


def label_term(key: str, value: str | None) -> str:
    """Return the term of a label; for a value of None, the term of having any label with that key."""
    return f"=label:{key}" if value is None else f"=label:{key}={value}"


def _facts(row: VersionRow) -> Iterator[str]:
    yield kind_term(row.kind)
    yield place_term(row.namespace)
    yield place_term(f"{row.namespace}/{row.line}")
    if row.base_id is not None:
        yield base_term(row.base_id)
    for key, value in row.labels.items():
        yield label_term(key, None)
        yield label_term(key, value)


def _words_about(row: VersionRow, card: ModelCard) -> Iterator[str]:
    """Yield words in the order of their weight: where there are too many, the last are left out."""
    labels = (text for pair in row.labels.items() for text in pair)
    names = (row.line, row.namespace, row.kind, row.variant, row.semver or "")
    yield from _each(names)
    yield from _each((card.title, *card.tags, *labels))
    yield from _each((card.task, card.library, card.license, *card.languages))
    yield from _each((*card.base_models, *card.datasets))
    yield from _each((row.message, card.summary))


def _each(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from words_of(text)
