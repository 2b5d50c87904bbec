"""Probe sets in JSON lines: the fields beside each line's text, the same keys in every line.

| beside `text` | is |
|---|---|
| `label` | the number of its class |
| `target` | the text that belongs to it: a translation, an answer, what comes next |
| `other`, `score` | a second text, and how alike the two are |
| `relevant`, `others` | texts that answer it, and texts that do not |
| `group` | what it is of: a language, a domain |
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deltareg.documents.json_values import is_count, is_list, is_object, parse_json
from deltareg.errors import InvalidInput
from deltareg.suites.samples import FIX, RankingCandidates, Samples

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "label": (),
    "target": (),
    "other": ("score",),
    "relevant": ("others",),
    "group": (),
}


def read_lines(lines: Sequence[tuple[int, str]], name: str) -> Samples:
    """Read numbered lines of JSON.

    Raises:
        InvalidInput: A line is not such an object, or has other keys than the others.
    """
    rows = [(f"{name}, line {number}", _json(line, name, number)) for number, line in lines]
    for key, needed in _GROUPS.items():
        _check_all(rows, key, name)
        for other in needed:
            if other != "others":
                _check_both(rows, key, other)
    texts = tuple(_text(row.get("text", row.get("prompt")), where, "text") for where, row in rows)
    first: Collection[str] = rows[0][1].keys() if rows else ()
    return Samples(
        texts,
        labels=_labels(rows) if "label" in first else None,
        targets=_texts(rows, "target") if "target" in first else (),
        partners=_texts(rows, "other") if "other" in first else (),
        scores=_scores(rows) if "score" in first else None,
        candidates=_all_candidates(rows) if "relevant" in first else (),
        groups=_texts(rows, "group") if "group" in first else (),
    )


_Rows = Sequence[tuple[str, Mapping[str, object]]]


def _json(line: str, name: str, number: int) -> Mapping[str, object]:
    where = f"{name}, line {number}"
    try:
        item: object = parse_json(line)
    except ValueError as error:
        raise InvalidInput(f"{where}: not valid JSON: {error}", fix=FIX) from error
    if not is_object(item):
        raise InvalidInput(f"{where}: a line is an object with a text", fix=FIX)
    # A key that says nothing is a key that is not there.
    return {key: value for key, value in item.items() if value is not None}


def _check_all(rows: _Rows, key: str, name: str) -> None:
    count = sum(key in row for _, row in rows)
    if 0 < count < len(rows):
        raise InvalidInput(f"{name}: {count} of {len(rows)} lines have a {key}", fix=FIX)


def _check_both(rows: _Rows, key: str, other: str) -> None:
    lone = next((where for where, row in rows if (key in row) != (other in row)), None)
    if lone is not None:
        raise InvalidInput(f'{lone}: "{key}" and "{other}" come together', fix=FIX)


def _text(value: object, where: str, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f'{where}: there is no "{key}"', fix=FIX)
    return value


def _texts(rows: _Rows, key: str) -> tuple[str, ...]:
    return tuple(_text(row[key], where, key) for where, row in rows)


def _labels(rows: _Rows) -> NDArray[np.int64]:
    labels: list[int] = []
    for where, row in rows:
        label = row["label"]
        if not is_count(label, below=1 << 31):
            raise InvalidInput(f'{where}: "label" is the number of a class, from 0 on', fix=FIX)
        labels.append(label)
    return np.array(labels, np.int64)


def _scores(rows: _Rows) -> NDArray[np.float64]:
    scores: list[float] = []
    for where, row in rows:
        score = row["score"]
        is_number = isinstance(score, (int, float)) and not isinstance(score, bool)
        if not is_number or not isinstance(score, (int, float)) or not math.isfinite(score):
            raise InvalidInput(f'{where}: "score" is a number: how alike the two are', fix=FIX)
        scores.append(float(score))
    return np.array(scores, np.float64)


def _all_candidates(rows: _Rows) -> tuple[RankingCandidates, ...]:
    return tuple(_candidates(row, where) for where, row in rows)


def _candidates(row: Mapping[str, object], where: str) -> RankingCandidates:
    relevant = _read_texts(row["relevant"], where, "relevant")
    negatives = _read_texts(row.get("others", []), where, "others")
    if not relevant:
        raise InvalidInput(f'{where}: "relevant" is a list of one text or more', fix=FIX)
    both = {*relevant} & {*negatives}
    if both:
        raise InvalidInput(f"{where}: {min(both)[:40]!r} is relevant, and is not", fix=FIX)
    return RankingCandidates(relevant, negatives)


def _read_texts(value: object, where: str, key: str) -> tuple[str, ...]:
    items: Iterable[object] = value if is_list(value) else (value,)
    return tuple(_text(item, where, key) for item in items)
