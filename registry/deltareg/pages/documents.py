"""Texts that people write on a page, and what is wrong with them: above all, in which line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.documents.yaml_document import write_yaml
from deltareg.errors import DeltaregError
from deltareg.pages.asking import ViewRequest
from deltareg.wire import Answer

_LINE = re.compile(r"\bline (\d{1,6})\b")
_MOST_CHARS = 1 << 20


class FormText(Answer):
    """A text in a form.

    Attributes:
        text: The text.
        seen: The digest of the registry's text when the form was opened.
        reason: The reason for the change, as far as it is given.
        wrong: What is wrong with the text; empty if no error is known.
        fix: What to do about the error.
        line: The line of the error, from 1; 0 if the error names none.
        quoted: The content of that line.
    """

    text: str
    seen: str
    reason: str = ""
    wrong: str = ""
    fix: str = ""
    line: int = 0
    quoted: str = ""

    @property
    def rows(self) -> int:
        """How many rows the text area has."""
        return min(40, max(10, self.text.count("\n") + 3))


@dataclass(frozen=True, slots=True)
class SubmittedText:
    """A text as submitted in a form."""

    text: str
    seen: str
    reason: str

    @property
    def raw(self) -> bytes:
        """The text as the bytes of a file."""
        return self.text.encode()

    def show_again(self) -> FormText:
        """Return the text for the form, unchanged."""
        return FormText(text=self.text, seen=self.seen, reason=self.reason)

    def wrong(self, error: DeltaregError) -> FormText:
        """Return the text for the form, with the error and its line."""
        match = _LINE.search(error.message)
        line = int(match[1]) if match else 0
        lines = self.text.split("\n")
        quoted = lines[line - 1] if 0 < line <= len(lines) else ""
        return self.show_again().model_copy(
            update={"wrong": error.message, "fix": error.fix, "line": line if quoted else 0, "quoted": quoted}
        )

    def is_seen(self, digest: str) -> bool:
        """Whether the current text, by its digest, is the one that the form was opened with."""
        return digest == self.seen


def read_sent(ask: ViewRequest) -> SubmittedText:
    """Read the text of a form, whose CRLF line ends become LF."""
    text = ask.form.get("text", "")[:_MOST_CHARS].replace("\r\n", "\n")
    return SubmittedText(text=text, seen=ask.form_text("seen"), reason=ask.form_text("reason")[:2_000])


def begin_text(fields: Mapping[str, object], seen: str) -> FormText:
    """Return the current text for a form."""
    return FormText(text=write_yaml(dict(fields)), seen=seen)
