"""Rows of a user's data: the meaning of their columns, and the task that they suit.

Columns have many names. A known name tells the content of a column; if the names fit several tasks,
or none, nothing is guessed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import InvalidInput

Task = Literal["lm", "chat", "classify", "retrieve", "translate", "caption"]
TASKS: tuple[Task, ...] = get_args(Task)
Record = Mapping[str, object]

_CHATS = ("messages", "conversations", "conversation", "chat")
_TEXTS = ("text", "sentence", "content", "review", "input", "document", "body", "sms", "tweet")
_LABELS = ("label", "labels", "class", "category", "intent", "sentiment", "topic")
_PROMPTS = ("prompt", "instruction", "question", "user", "input")
_ANSWERS = ("completion", "response", "output", "answer", "assistant", "chosen", "target")
_CONTEXTS = ("context", "passage")
_QUERIES = ("query", "anchor", "question", "sentence1")
_FOUND = ("positive", "positives", "relevant", "passage", "passages", "document", "context", "sentence2")
_OTHERS = ("negative", "negatives", "others", "hard_negatives")
_SOURCES = ("source", "src", "source_text")
_TARGETS = ("target", "tgt", "target_text", "translation")
_IMAGES = ("image", "file_name", "image_path", "path", "file")
_CAPTIONS = ("caption", "captions", "text", "description", "alt")
_LANGUAGES = frozenset(
    {
        "ar",
        "bg",
        "bn",
        "ca",
        "cs",
        "da",
        "de",
        "el",
        "en",
        "es",
        "et",
        "eu",
        "fa",
        "fi",
        "fr",
        "gl",
        "he",
        "hi",
        "hr",
        "hu",
        "id",
        "is",
        "it",
        "ja",
        "ka",
        "ko",
        "lt",
        "lv",
        "mk",
        "ms",
        "nb",
        "nl",
        "no",
        "pl",
        "pt",
        "ro",
        "ru",
        "sk",
        "sl",
        "sq",
        "sr",
        "sv",
        "sw",
        "ta",
        "th",
        "tr",
        "uk",
        "ur",
        "vi",
        "zh",
    }
)
_MOST_CLASSES, _PER_CLASS = 1000, 2
_FIX = f"say what it is for: --task {'|'.join(TASKS)}"


@dataclass(frozen=True, slots=True)
class DataRow:
    """One row, as read for its task.

    Attributes:
        text: The input: a text, a query, a source; for a chat, all but its last turn.
        target: The expected output: an answer, a translation, a caption, a relevant text.
        label: The name of the class.
        image: The file of an image.
        turns: For a chat: the speaker and text of each turn.
        others: Texts that are not relevant to a query.
    """

    text: str = ""
    target: str = ""
    label: str = ""
    image: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """The whole row as one text."""
        return " ".join(part for part in (self.text, self.target, self.image) if part)


def guess_task(records: Sequence[Record]) -> tuple[Task, str]:
    """Return the task of rows, and the evidence for it.

    Raises:
        InvalidInput: Their columns fit no task, or several.
    """
    first = records[0]
    strongest = next((sign for sign in _signs(first, records) if sign[1]), None)
    if strongest is None:
        names = ", ".join(map(repr, list(first)[:8]))
        raise InvalidInput(f"the columns {names} do not tell what the data is for", fix=_FIX)
    return strongest


def rows_of(records: Iterable[Record], task: Task) -> list[DataRow]:
    """Read records for a task; empty ones are left out.

    Raises:
        InvalidInput: A column that the task needs is missing.
    """
    read_row = _READERS[task]
    rows = [read_row(record, f"row {number}") for number, record in enumerate(records, 1)]
    return [row for row in rows if row.text.strip() or row.image]


def classes_of(rows: Sequence[DataRow]) -> list[str]:
    """Return the classes of labelled rows by number; labels that are numbers keep them.

    Raises:
        InvalidInput: There are too many labels for classes, or only one.
    """
    labels = {row.label for row in rows}
    if len(labels) < 2:
        raise InvalidInput(f"all rows have the label {next(iter(labels), '')!r}", fix="bring rows of every class")
    if len(labels) > min(_MOST_CLASSES, max(2, len(rows) // _PER_CLASS)):
        raise InvalidInput(f"{len(labels)} labels on {len(rows)} rows are no classes", fix="name another --task")
    if all(label.isdecimal() for label in labels):
        return [str(number) for number in range(max(map(int, labels)) + 1)]
    return sorted(labels)


def _signs(first: Record, records: Sequence[Record]) -> list[tuple[Task, str]]:
    """Return each task with its evidence, empty if there is none. The first with evidence wins."""
    label, image = _name(first, _LABELS), _name(first, _IMAGES)
    pairs = [
        (_name(first, one), _name(first, other))
        for one, other in ((_QUERIES, _FOUND), (_SOURCES, _TARGETS), (_PROMPTS, _ANSWERS))
    ]
    (query, passage), (source, target), (prompt, answer) = pairs
    languages = _languages(first)
    chat = next((key for key in _CHATS if is_list(first.get(key))), "")
    is_few = bool(label) and _is_few(records, label)
    caption, context = _name(first, _CAPTIONS), _name(first, _CONTEXTS)
    return [
        ("chat", f"there are turns in {chat!r}" if chat else ""),
        ("classify", f"{label!r} names a class for each image" if image and is_few else ""),
        ("caption", f"{caption!r} belongs to the image in {image!r}" if image and caption else ""),
        ("translate", " and ".join(languages) if languages else ""),
        ("chat", f"{answer!r} answers {prompt!r} from {context!r}" if prompt and answer and context else ""),
        ("retrieve", f"{passage!r} belongs to {query!r}" if query and passage and not is_few else ""),
        ("classify", f"{label!r} names a class for each text" if is_few else ""),
        ("translate", f"{target!r} is {source!r} in other words" if source and target else ""),
        ("chat", f"{answer!r} answers {prompt!r}" if prompt and answer and prompt != answer else ""),
        ("lm", "each row is a text" if _name(first, _TEXTS) else ""),
    ]


def _chat(record: Record, where: str) -> DataRow:
    key = next((name for name in _CHATS if is_list(record.get(name))), "")
    if not key:
        prompt, answer = _need(record, (*_PROMPTS, *_TEXTS), where), _need(record, (*_ANSWERS, *_LABELS), where)
        context = _name(record, _CONTEXTS)
        prompt = f"{record[context]}\n{prompt}" if context else prompt
        turns: tuple[tuple[str, str], ...] = (("user", prompt), ("assistant", answer))
    else:
        turns = _turns(record[key], f"{where}: {key}")
    if turns[-1][0] != "assistant" or len(turns) < 2:
        # There is no answer to look at: such a row is left out, as an empty one is.
        return DataRow()
    return DataRow("\n".join(text for _, text in turns[:-1]), turns[-1][1], turns=turns)


def _turns(value: object, where: str) -> tuple[tuple[str, str], ...]:
    roles = {"human": "user", "gpt": "assistant", "bot": "assistant"}
    turns: list[tuple[str, str]] = []
    for item in value if is_list(value) else []:
        if not is_object(item):
            raise InvalidInput(f"{where}: a turn is an object with role and content")
        role = str(item.get("role", item.get("from", "")))
        text = item.get("content", item.get("value"))
        if not role or not isinstance(text, str):
            raise InvalidInput(f"{where}: a turn has no role, or no content that is a text")
        turns.append((roles.get(role, role), text))
    if not turns:
        raise InvalidInput(f"{where}: there is no turn")
    return tuple(turns)


def _lm(record: Record, where: str) -> DataRow:
    return DataRow(_need(record, (*_TEXTS, *_CAPTIONS), where))


def _classify(record: Record, where: str) -> DataRow:
    label = _value(record, _LABELS)
    if label is None:
        raise InvalidInput(f"{where} has no label", fix="call the column `label`")
    image = _name(record, _IMAGES)
    if image:
        return DataRow(label=str(label), image=str(record[image]))
    return DataRow(_need(record, _TEXTS, where), label=str(label))


def _retrieve(record: Record, where: str) -> DataRow:
    passages = _as_texts(_value(record, _FOUND))
    if not passages:
        raise InvalidInput(f"{where} has nothing to be found", fix="call the column `positive`")
    return DataRow(_need(record, _QUERIES, where), passages[0], others=tuple(_as_texts(_value(record, _OTHERS))))


def _translate(record: Record, where: str) -> DataRow:
    pair = _language_pair(record)
    if pair is not None:
        return DataRow(*pair)
    return DataRow(_need(record, (*_SOURCES, *_TEXTS), where), _need(record, _TARGETS, where))


def _caption(record: Record, where: str) -> DataRow:
    image = _need(record, _IMAGES, where)
    return DataRow(image=image, target=_need(record, _CAPTIONS, where))


_READERS = {
    "lm": _lm,
    "chat": _chat,
    "classify": _classify,
    "retrieve": _retrieve,
    "translate": _translate,
    "caption": _caption,
}


def _name(record: Record, names: Sequence[str]) -> str:
    """Return the column that has one of the names, ignoring case."""
    columns = {key.lower(): key for key in record}
    return next((columns[name] for name in names if name in columns), "")


def _value(record: Record, names: Sequence[str]) -> object:
    key = _name(record, names)
    return record[key] if key else None


def _need(record: Record, names: Sequence[str], where: str) -> str:
    """Return a text that is required.

    Raises:
        InvalidInput: There is no column with one of the names.
    """
    value = _value(record, names)
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    texts = _as_texts(value)
    if texts:
        return texts[0]
    raise InvalidInput(f"{where} has no text called {' or '.join(names[:4])}", fix=_FIX)


def _as_texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [item for item in value if isinstance(item, str)] if is_list(value) else []


def _is_few(records: Sequence[Record], column: str) -> bool:
    """Whether a column holds classes: few values, most of them repeated."""
    values = {str(record.get(column)) for record in records}
    return 1 < len(values) <= min(_MOST_CLASSES, max(2, len(records) // _PER_CLASS))


def _languages(record: Record) -> list[str]:
    pair = record.get("translation")
    keys = pair if is_object(pair) else record
    columns = [key for key in keys if key.lower().partition("_")[0] in _LANGUAGES]
    return [f"{key!r}" for key in columns] if len(columns) == 2 else []


def _language_pair(record: Record) -> tuple[str, str] | None:
    nested = record.get("translation")
    fields: Record = nested if is_object(nested) else record
    keys = [key for key in fields if key.lower().partition("_")[0] in _LANGUAGES]
    texts = [fields[key] for key in keys]
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        return None
    return str(texts[0]), str(texts[1])
