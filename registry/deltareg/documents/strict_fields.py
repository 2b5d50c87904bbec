"""Reading documents that people write: every mistake is reported with its place and its repair."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import InvalidInput

_MOST_LETTERS = 200


@dataclass(frozen=True, slots=True)
class DocumentPlace:
    """The position of a value in a document.

    Attributes:
        path: Such as `freeze[0].zone`; empty for the document itself.
        lines: The line of each path, if the document was a text.
    """

    path: str = ""
    lines: Mapping[str, int] = field(default_factory=dict[str, int])

    def at(self, key: str | int) -> "DocumentPlace":
        """Return the place of a key of an object, or of an item of a list."""
        if isinstance(key, int):
            return DocumentPlace(f"{self.path}[{key}]", self.lines)
        return DocumentPlace(f"{self.path}.{key}" if self.path else key, self.lines)

    def wrong(self, message: str, *, fix: str) -> InvalidInput:
        """Build the error for a value at this place."""
        line = self.lines.get(self.path)
        where = "" if line is None else f"line {line}: "
        name = f"{self.path}: " if self.path else ""
        return InvalidInput(f"{where}{name}{message}", fix=fix)


def read_object(value: object, place: DocumentPlace, *, known: Collection[str]) -> dict[str, object]:
    """Read an object that has only known keys.

    Raises:
        InvalidInput: It is not an object, or has an unknown key.
    """
    keys = ", ".join(known)
    if not is_object(value):
        raise place.wrong(f"takes keys and values, not {describe_value(value)}", fix=f"keys: {keys}")
    for key in value:
        if key not in known:
            nearest = get_close_matches(str(key), known, n=1)
            fix = f"did you mean {nearest[0]}?" if nearest else f"keys: {keys}"
            raise place.at(str(key)).wrong("there is no such key", fix=fix)
    return value


def read_list(value: object, place: DocumentPlace, *, example: str) -> list[object]:
    """Read a list.

    Raises:
        InvalidInput: It is not a list.
    """
    if not is_list(value):
        raise place.wrong(f"takes a list, not {describe_value(value)}", fix=f"write {example}")
    return value


def read_text(value: object, place: DocumentPlace, *, example: str) -> str:
    """Read a one-line text.

    Raises:
        InvalidInput: It is not a text, empty, too long, or has control characters.
    """
    if not isinstance(value, str) or not value.strip():
        raise place.wrong(f"takes a text, not {describe_value(value)}", fix=f"write {example}")
    if len(value) > _MOST_LETTERS or not value.isprintable():
        raise place.wrong(f"takes one line of at most {_MOST_LETTERS} characters", fix=f"write {example}, shorter")
    return value


def read_count(value: object, place: DocumentPlace, *, most: int) -> int:
    """Read a non-negative integer.

    Raises:
        InvalidInput: It is not a non-negative integer, or more than `most`.
    """
    if not is_count(value, below=most + 1):
        raise place.wrong(f"takes a whole number, not {describe_value(value)}", fix=f"write a number from 0 to {most}")
    return value


def read_word(value: object, place: DocumentPlace, *, words: Collection[str]) -> str:
    """Read one of a few words.

    Raises:
        InvalidInput: It is none of them.
    """
    choices = ", ".join(words)
    if not isinstance(value, str) or value not in words:
        nearest = get_close_matches(value, words, n=1) if isinstance(value, str) else []
        fix = f"did you mean {nearest[0]}? One of: {choices}" if nearest else f"one of: {choices}"
        raise place.wrong(f"does not know {describe_value(value)}", fix=fix)
    return value


def describe_value(value: object) -> str:
    """Describe a value for a message, without its whole contents."""
    if is_object(value):
        return "keys and values"
    if is_list(value):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)[:60]
