"""A text that is written on a page, and what is said of it: above all, which line is wrong."""

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
        text: What stands there.
        seen: The digest of what stood in the registry when it was begun.
        reason: Why, as far as it was said.
        wrong: What is wrong with it; empty where nothing is known to be.
        fix: What to do about that.
        line: The line where it is, from 1; 0 where none is named.
        quoted: That line.
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
        """How many lines to show of it."""
        return min(40, max(10, self.text.count("\n") + 3))


@dataclass(frozen=True, slots=True)
class SubmittedText:
    """A text as it came in a form."""

    text: str
    seen: str
    reason: str

    @property
    def raw(self) -> bytes:
        """The text as a file has it."""
        return self.text.encode()

    def show_again(self) -> FormText:
        """Show it again as it came."""
        return FormText(text=self.text, seen=self.seen, reason=self.reason)

    def wrong(self, error: DeltaregError) -> FormText:
        """Show it again with what is wrong, and the line where that is."""
        match = _LINE.search(error.message)
        line = int(match[1]) if match else 0
        lines = self.text.split("\n")
        quoted = lines[line - 1] if 0 < line <= len(lines) else ""
        return self.show_again().model_copy(
            update={"wrong": error.message, "fix": error.fix, "line": line if quoted else 0, "quoted": quoted}
        )

    def is_seen(self, digest: str) -> bool:
        """Whether what stands is what the form was begun with."""
        return digest == self.seen


def read_sent(ask: ViewRequest) -> SubmittedText:
    """Read the text of a form; browsers end its lines as the network does."""
    text = ask.form.get("text", "")[:_MOST_CHARS].replace("\r\n", "\n")
    return SubmittedText(text=text, seen=ask.form_text("seen"), reason=ask.form_text("reason")[:2_000])


def begin_text(fields: Mapping[str, object], seen: str) -> FormText:
    """Begin a text with what stands."""
    return FormText(text=write_yaml(dict(fields)), seen=seen)
