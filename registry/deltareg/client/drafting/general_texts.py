"""General texts that a delta must not forget, by group: those of this release, or the user's own.

A group is a language or a domain. Which groups are asked is for the base to decide: it is held to those
that it understands, each by itself.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import cast

from deltareg.client.drafting.data_files import read_records, texts_in
from deltareg.errors import InvalidInput
from deltareg.suites.drafting.draft import GeneralText, GeneralTexts
from deltareg.suites.drafting.repeated_rows import without_repeats

LEAST = 8
"""Fewer texts show too little of a group."""
_MOST_EACH = 100  # of a group: each verification runs all of them
_CORPORA = ("corpus.json", "more.json")
_KINDS = ("text", "code", "chat")
_GROUP_COLUMNS = ("group", "language", "lang", "domain", "category")


def shipped_texts() -> GeneralTexts:
    """Return the texts that come with this release."""
    texts: list[GeneralText] = []
    for name in _CORPORA:
        path = files("deltareg") / "suites" / "general" / name
        corpus = cast("Mapping[str, Sequence[Mapping[str, object]]]", json.loads(path.read_bytes()))
        texts += [_shipped_text(row, kind) for kind in _KINDS for row in corpus[kind]]
    return GeneralTexts(texts, "those of this release")


def read_texts(path: Path) -> GeneralTexts:
    """Read the user's general texts: a file of rows, or a folder with a file for each group.

    The group is what a column `group`, `language` or `domain` says, or the name of the file. Of each
    the first hundred texts are taken.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It cannot be read, or no group has enough texts.
    """
    parts = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
    texts = [text for part in parts for row in read_records(part) if (text := _own_text(row, part.stem)).text]
    unique = [texts[at] for at in without_repeats([one.text for one in texts])]
    counts: Counter[str] = Counter()
    taken: list[GeneralText] = []
    for one in unique:
        counts[one.group] += 1
        taken += [one] if counts[one.group] <= _MOST_EACH else []
    if max(counts.values(), default=0) < LEAST:
        raise InvalidInput(
            f"{path} has no group of {LEAST} different texts",
            fix='give more texts of each language or domain, a row each: {"text": "…", "group": "en"}',
        )
    return GeneralTexts(taken, f"those of {path}")


def _shipped_text(row: Mapping[str, object], kind: str) -> GeneralText:
    parts = (row.get(key) for key in ("text", "user", "assistant"))
    return GeneralText(str(row.get("class", kind)), "\n".join(part for part in parts if isinstance(part, str)))


def _own_text(row: Mapping[str, object], stem: str) -> GeneralText:
    named = next((row[key] for key in _GROUP_COLUMNS if isinstance(row.get(key), str)), stem)
    rest = {key: value for key, value in row.items() if key not in _GROUP_COLUMNS}
    words: Sequence[str] = [text for text in texts_in(rest) if text.strip()]
    return GeneralText(str(named), "\n".join(words))
