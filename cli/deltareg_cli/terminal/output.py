"""The one place that prints: results to stdout, all the rest to stderr."""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, assert_never, cast

from deltareg.wire.interface import SCHEMA_VERSION

if TYPE_CHECKING:
    from deltareg.client.config import OutputFormat
    from deltareg_cli.terminal.blocks import CommandResult
    from deltareg_cli.terminal.drawing import DrawingSurface

# JSON stays valid when these are escaped, and no terminal acts on them then.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


@dataclass(slots=True)
class Output:
    """How this invocation prints.

    Attributes:
        format: The form of results.
        is_quiet: Results as bare ids, no notes.
        is_verbose: Results with their details: digests, keys, proofs, timings.
        has_colour: Whether colours are wanted where there is a terminal.
    """

    format: "OutputFormat" = "table"
    is_quiet: bool = False
    is_verbose: bool = False
    has_colour: bool = True

    @property
    def is_for_scripts(self) -> bool:
        """Whether a program reads the results."""
        return self.format != "table"

    @property
    def has_notes(self) -> bool:
        """Whether stderr may carry more than an error: a script expects one document there."""
        return not self.is_quiet and (not self.is_for_scripts or is_terminal(sys.stderr))

    def show(self, answer: "CommandResult") -> None:
        """Print a result."""
        if self.is_quiet and not self.is_for_scripts:
            _print("".join(f"{line}\n" for line in answer.ids), sys.stdout)
            return
        _print(self._text(answer), sys.stdout)

    def line(self, text: str) -> None:
        """Print one of many results that a program reads one by one, a line each."""
        _print(text, sys.stdout)

    def note(self, text: str) -> None:
        """Print a note beside the result."""
        if self.has_notes:
            _print(f"{text}\n", sys.stderr)

    def complain(self, text: str) -> None:
        """Print why there is no result; no option silences this."""
        _print(text, sys.stderr)

    @property
    def result_surface(self) -> "DrawingSurface":
        """Return stdout as a surface to draw on."""
        return self.surface(sys.stdout)

    def surface(self, stream: TextIO) -> "DrawingSurface":
        """Return a stream as a surface to draw on."""
        from deltareg_cli.terminal.drawing import DrawingSurface  # pages of help are not drawn by it

        on_terminal = is_terminal(stream)
        width = shutil.get_terminal_size((100, 24)).columns
        return DrawingSurface(width, on_terminal, on_terminal and self.has_colour)

    def _text(self, answer: "CommandResult") -> str:
        match self.format:
            case "table":
                from deltareg_cli.terminal.drawing import draw  # as above

                blocks = [*answer.blocks, *(answer.details if self.is_verbose else ())]
                return answer.raw or draw(blocks, self.result_surface)
            case "json":
                return to_json(with_schema(answer.document), indent=2)
            case "yaml":
                from deltareg.documents.yaml_document import write_yaml  # other forms need no YAML

                return write_yaml(with_schema(answer.document), is_ascii=True)
            case "jsonl":
                items = answer.document.get("items")
                rows = cast("Sequence[object]", items) if isinstance(items, list) else None
                documents = [with_schema(answer.document)] if rows is None else rows
                return "".join(to_json(document) for document in documents)
            case _:
                assert_never(self.format)


def with_schema(document: Mapping[str, object]) -> dict[str, object]:
    """Put the schema version before the other fields."""
    return {"schema_version": SCHEMA_VERSION, **document}


def to_json(value: object, *, indent: int | None = None) -> str:
    """Format one JSON document and a line end, safe to print on a terminal."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal."""
    return stream.isatty()


def _print(text: str, stream: TextIO) -> None:
    print(text, end="", file=stream, flush=True)
