"""What a result looks like to people, as values: facts, tables, lines and sentences, which `drawing` draws.

Text in a block may come from other people; drawing makes it safe, so commands pass it unchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "strong", "name", "good", "warn", "bad", "dim"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text in a tone."""

    text: str
    tone: Tone = ""


Text = str | Cell


@dataclass(frozen=True, slots=True)
class FactsBlock:
    """Labels with values, aligned; a value of several cells stands on one line, spaced.

    Rows whose value is empty are left out.
    """

    rows: Sequence[tuple[str, Text | Sequence[Text]]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading, in lower case.
        is_name: Whether the heading is a name, shown exactly as written.
        is_number: Whether it is aligned to the right.
        is_prose: Whether it may wrap; other columns never do.
    """

    title: str
    is_number: bool = False
    is_prose: bool = False
    is_name: bool = False

    @property
    def heading(self) -> str:
        """The text of the heading."""
        return self.title if self.is_name else self.title.upper()


@dataclass(frozen=True, slots=True)
class TableBlock:
    """Rows under columns, or one sentence where there are none."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Text]]
    if_empty: str = "nothing there"


@dataclass(frozen=True, slots=True)
class LinesBlock:
    """Lines to print unchanged; each is a text, or several cells side by side."""

    lines: Sequence[Text | Sequence[Text]]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence behind a lead: a name, or a word such as `fix:`.

    Attributes:
        text: The sentence; on a terminal it wraps at words, below its own beginning.
        lead: What stands before it.
        most_lines: How many lines it may take on a terminal; the rest is cut off.
    """

    text: str
    lead: Text = ""
    most_lines: int = 3


@dataclass(frozen=True, slots=True)
class SentencesBlock:
    """Sentences below each other, their leads in a column of their own.

    A command in a sentence (`fix: deltareg ...`) is never broken: it can be copied as it stands.
    """

    rows: Sequence[Sentence]
    indent: int = 0
    gap: int = 1


@dataclass(frozen=True, slots=True)
class TitleBlock:
    """A heading, with dimmed text beside it."""

    text: str
    beside: str = ""


Block = FactsBlock | TableBlock | LinesBlock | SentencesBlock | TitleBlock


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A result in all its forms: for scripts, for people and for `--quiet`.

    Attributes:
        document: The fields that scripts read, the most important first.
        blocks: The same for people, in at most eight lines where a command answers one question.
        ids: What `--quiet` prints, a line each.
        details: What `-v` shows below the blocks: digests, keys, proofs, timings.
        raw: Text that replaces the blocks where the user asked for a format of its own.
    """

    document: Mapping[str, object]
    blocks: Sequence[Block]
    ids: Sequence[str] = ()
    details: Sequence[Block] = ()
    raw: str | None = None


TONES: dict[str, Tone] = {
    "pass": "good",
    "fail": "bad",
    "inconclusive": "warn",
    "warn": "warn",
    "skipped": "warn",
    "n/a": "dim",
    "done": "good",
    "running": "name",
    "queued": "dim",
    "dead": "bad",
    "cancelled": "dim",
    "error": "bad",
    "warning": "warn",
    "ok": "good",
    "note": "dim",
    "promote": "good",
    "rollback": "warn",
    "freeze": "name",
    "unfreeze": "name",
    "revoke": "bad",
    "unrevoke": "name",
}


def tone_word(word: str | None) -> Cell:
    """Return a word of the glossary in its tone; a dash where there is none."""
    return Cell(word, TONES.get(word, "")) if word else Cell("-", "dim")
