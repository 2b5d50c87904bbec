"""Model cards: the content of a model's README.md, as far as programs can read it.

A card is a Markdown file that begins with front matter, YAML between two lines of dashes, with the
keys that the Hugging Face Hub documents. A person or a trainer wrote it; its claims are not trusted
and never cause a push to be refused. Unreadable parts are left out and reported in `problems`.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deltareg.documents.json_values import is_list, is_object
from deltareg.documents.yaml_document import read_yaml
from deltareg.errors import InvalidInput

CARD_FILE = "README.md"
MOST_CARD_BYTES = 1 << 20
MOST_FRONT_BYTES = 64 << 10
_MOST_ITEMS, _MOST_CHARACTERS, _MOST_METRICS = 64, 200, 128
_MOST_SUMMARY = 400
_LARGEST = 1 << 63  # a longer number is no text that somebody meant
_KEYS = ("license", "pipeline_tag", "library_name", "language", "tags", "datasets", "base_model", "model-index")
_FENCE = re.compile(r"(?:```|~~~)")
_NO_PROSE = ("#", "|", "<", "!", "[!", ">", "---", "===")
_LINK = re.compile(r"\[([^\][]{0,200})\]\([^()\s]{0,400}\)")
_MARKS = str.maketrans("", "", "*`")


@dataclass(frozen=True, slots=True)
class CardMetric:
    """A result that a card claims: its name, its value, and the data."""

    name: str
    value: float
    dataset: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The content of a card.

    Attributes:
        title: Its first heading.
        summary: Its first words outside of headings, at most 400 characters.
        license: As named in the card.
        task: The model's task, `pipeline_tag` on the hub.
        library: The library that loads it.
        languages: As named in the card.
        tags: Words.
        datasets: The training data.
        base_models: Its base by the card, which may differ from the registry's record.
        metrics: The results that it claims.
        problems: The parts that could not be read, in words.
    """

    title: str = ""
    summary: str = ""
    license: str = ""
    task: str = ""
    library: str = ""
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    metrics: tuple[CardMetric, ...] = ()
    problems: tuple[str, ...] = ()


def read_card(raw: bytes) -> ModelCard:
    """Read a card; for any input this ends quickly and returns a small result."""
    problems: list[str] = []
    if len(raw) > MOST_CARD_BYTES:
        problems.append(f"it has {len(raw):,} bytes, of which the first {MOST_CARD_BYTES:,} count")
    text = raw[:MOST_CARD_BYTES].decode("utf-8-sig", "replace")
    if "\ufffd" in text:
        problems.append("it is not UTF-8")
    front, body = split_card(text)
    fields = _read_front(front, problems)
    title, summary = _read_body(body)
    return ModelCard(
        title=title,
        summary=summary,
        license=_one(fields, "license", problems),
        task=_one(fields, "pipeline_tag", problems),
        library=_one(fields, "library_name", problems),
        languages=_several(fields, "language", problems),
        tags=_several(fields, "tags", problems),
        datasets=_several(fields, "datasets", problems),
        base_models=_several(fields, "base_model", problems),
        metrics=tuple(_metrics(fields.get("model-index"), problems)),
        problems=tuple(problems),
    )


def problems_about(card: ModelCard, *keys: str) -> list[str]:
    """Return what keeps some keys of a card from being read in full: all but the faults of others."""
    others = tuple(f"{of}{key} " for key in _KEYS if key not in keys for of in ("", "of "))
    return [problem for problem in card.problems if not problem.startswith((*others, "of its metrics "))]


def split_card(text: str) -> tuple[str, str]:
    """Split a card into its front matter, empty if it has none, and the rest."""
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].strip() != "---":
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() in {"---", "..."}:
            return "".join(lines[1:number]), "".join(lines[number + 1 :])
    return "", text


def read_front(front: str) -> dict[str, object]:
    """Read front matter.

    Raises:
        InvalidInput: It is not accepted YAML; the message names the place.
    """
    if not front.strip():
        return {}
    raw = front.encode()
    if len(raw) > MOST_FRONT_BYTES:
        message = f"the front matter has {len(raw):,} bytes, at most {MOST_FRONT_BYTES:,} are read"
        raise InvalidInput(message, fix=f"shorten what stands between the dashes of {CARD_FILE}")
    return read_yaml(raw, what="front matter")


def _read_front(front: str, problems: list[str]) -> Mapping[str, object]:
    try:
        return read_front(front)
    except InvalidInput as error:
        problems.append(plain(error.message))
        return {}


def _read_body(body: str) -> tuple[str, str]:
    """Return the first heading, and the first paragraph of prose."""
    title, prose, is_code = "", list[str](), False
    for line in _without_comments(body).splitlines():
        stripped = line.strip()
        if _FENCE.match(stripped):
            is_code = not is_code
        elif is_code:
            continue
        elif stripped.startswith("# ") and not title:
            title = plain(stripped[2:], _MOST_CHARACTERS)
        elif stripped and not stripped.startswith(_NO_PROSE):
            prose.append(stripped)
            if sum(map(len, prose)) > 2 * _MOST_SUMMARY:
                break
            continue
        if prose:
            break
    summary = _LINK.sub(r"\1", " ".join(prose)[: 4 * _MOST_SUMMARY]).translate(_MARKS)
    return title, plain(summary, _MOST_SUMMARY)


def _without_comments(body: str) -> str:
    """Remove HTML comments, which trainers write for people; an unclosed one stays."""
    parts: list[str] = []
    begin = 0
    while (opening := body.find("<!--", begin)) >= 0:
        end = body.find("-->", opening)
        if end < 0:
            break
        parts.append(body[begin:opening])
        begin = end + len("-->")
    return "".join([*parts, body[begin:]])


def _one(fields: Mapping[str, object], key: str, problems: list[str]) -> str:
    text = ", ".join(_several(fields, key, problems))
    if len(text) > _MOST_CHARACTERS:
        problems.append(f"{key} has {len(text)} characters, of which the first {_MOST_CHARACTERS} count")
    return text[:_MOST_CHARACTERS]


def _several(fields: Mapping[str, object], key: str, problems: list[str]) -> tuple[str, ...]:
    value = fields.get(key)
    items = value if is_list(value) else [] if value is None else [value]
    texts = [_text(item) for item in items[:_MOST_ITEMS]]
    if None in texts:
        problems.append(f"{key} is a text, or a list of texts")
    if len(items) > _MOST_ITEMS:
        problems.append(f"of {key} the first {_MOST_ITEMS} count")
    return tuple(dict.fromkeys(text for text in texts if text))


def _text(item: object) -> str | None:
    """Return a value as a card shows it; None if it is not a text.

    YAML reads the code of Norwegian, `no`, as false.
    """
    if item is False:
        return "no"
    if isinstance(item, str):
        return plain(item, _MOST_CHARACTERS)
    if isinstance(item, bool) or not isinstance(item, int | float):
        return None
    return str(item) if abs(item) < _LARGEST else None


def _metrics(index: object, problems: list[str]) -> Iterator[CardMetric]:
    if index is None:
        return
    if not is_list(index):
        problems.append("model-index is a list of models with results")
        return
    metrics = [metric for result in _results(index) for metric in _of_result(result)]
    if not metrics:
        problems.append("model-index has no metric with a name and a number")
    if len(metrics) > _MOST_METRICS:
        problems.append(f"of its metrics the first {_MOST_METRICS} count")
    yield from metrics[:_MOST_METRICS]


def _results(index: Iterable[object]) -> Iterator[Mapping[str, object]]:
    for model in index:
        results = model.get("results") if is_object(model) else None
        yield from (each for each in results if is_object(each)) if is_list(results) else ()


def _of_result(result: Mapping[str, object]) -> Iterator[CardMetric]:
    metrics = result.get("metrics")
    for metric in metrics if is_list(metrics) else ():
        if not is_object(metric):
            continue
        name = _text(metric.get("type") or metric.get("name"))
        value = _number(metric.get("value"))
        if name and value is not None:
            yield CardMetric(name, value, _read_name(result, "dataset"), _read_name(result, "task"))


def _read_name(result: Mapping[str, object], key: str) -> str:
    thing = result.get(key)
    if not is_object(thing):
        return ""
    return _text(thing.get("name") or thing.get("type")) or ""


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def plain(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Put a foreign text on one line, without characters that harm a terminal or a database."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * most])
    words = " ".join(printable.split())
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"
