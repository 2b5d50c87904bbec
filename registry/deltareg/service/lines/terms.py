"""Under which terms a version is found: the words that are about it, and facts of it.

Words stand as they are, in lower case. A fact begins with `=`, which no word does: `=kind:lora`,
`=in:ns`, `=in:ns/name`, `=base:7`, `=label:key`, `=label:key=value`.
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
    """Give all terms of a version."""
    return set(islice(dict.fromkeys(_words_about(row, card)), MOST_WORDS)) | set(_facts(row))


def words_of(text: str) -> list[str]:
    """Give the words of a text as they are looked for: lower case, without what parts them."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("_", " ")
    return [word for word in _WORD.findall(plain) if len(word) in _LENGTHS]


def kind_term(kind: str) -> str:
    """Give the term of a kind."""
    return f"=kind:{kind}"


def place_term(place: str) -> str:
    """Give the term of a namespace, or of a line."""
    return f"=in:{place}"


def base_term(base_id: int) -> str:
    """Give the term of a base, by its row: it may have another name tomorrow."""
    return f"=base:{base_id}"


def label_term(key: str, value: str | None) -> str:
    """Give the term of a label; with None, of having one of that key."""
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
    """Give words in the order of their weight: what comes last is left out where there are many."""
    labels = (text for pair in row.labels.items() for text in pair)
    named = (row.line, row.namespace, row.kind, row.variant, row.semver or "")
    yield from _each(named)
    yield from _each((card.title, *card.tags, *labels))
    yield from _each((card.task, card.library, card.license, *card.languages))
    yield from _each((*card.base_models, *card.datasets))
    yield from _each((row.message, card.summary))


def _each(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from words_of(text)
