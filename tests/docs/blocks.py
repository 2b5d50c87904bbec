"""The console blocks of the docs, read as the commands that a reader would type.

A block of `sh` or `console` is one. What cannot run here says why in a comment above it,
`<!-- not run here: needs a GPU -->`. A block of another language below `<!-- file: policy.yaml -->` is
the content of that file. `# as ben` in a block says who types what follows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONSOLE = ("sh", "console", "tour")
_FENCE = re.compile(
    r"(?:^ *<!-- (?P<key>not run here|file): (?P<value>.+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_STATUS = re.compile(r"^\(exit status (\d+)\)$", re.MULTILINE)
_EXITS = re.compile(r"# .*?\bexits (\d+)(?P<maybe> (?:when|where|if)\b)?")
_COMMENT = re.compile(r"(?:^|\s+)# .*$", re.MULTILINE)
_AS = re.compile(r"^# as ([\w-]+)")
_HEREDOC = re.compile(r"<<'?(\w+)'?")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page.

    Attributes:
        line: Where it begins in the page, from 1.
        text: What is typed, without comments.
        user: Who types it, where the page names somebody.
        statuses: The exit statuses that the page allows.
        output: What the page shows that it prints; None where it shows nothing.
    """

    line: int
    text: str
    user: str | None
    statuses: frozenset[int]
    output: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: Where its first line stands, from 1.
        language: `sh`, `yaml`, …
        body: Its lines, without the fence's own indent.
        obstacle: Why it does not run here, where the page says so.
        file: The file that it is the content of, where the page says so.
    """

    line: int
    language: str
    body: str
    obstacle: str | None = None
    file: str | None = None

    @property
    def is_console(self) -> bool:
        """Whether a reader would type it."""
        return self.language in CONSOLE

    def commands(self) -> list[Command]:
        """Read its commands, in their order."""
        is_transcript = any(line.startswith("$ ") for line in self.body.splitlines())
        return list(_transcript(self) if is_transcript else _script(self))


def read_blocks(page: Path) -> list[Block]:
    """Read the fenced blocks of a page, from its top to its bottom."""
    text = page.read_text("utf-8")
    blocks = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        indent = len(match["indent"])
        body = "".join(one[min(indent, len(one) - 1) :] for one in match["body"].splitlines(keepends=True))
        said = {"not run here": "obstacle", "file": "file"}
        marks = {said[match["key"]]: match["value"]} if match["key"] else {}
        blocks.append(Block(line, match["language"], body, **marks))
    return blocks


def _transcript(block: Block) -> Iterator[Command]:
    """Read a block that shows what commands print: each begins with `$ `."""
    for part in re.split(r"^(?=\$ )", block.body, flags=re.MULTILINE):
        if not part.startswith("$ "):
            continue
        lines = part.removeprefix("$ ").splitlines()
        size = next(n for n, line in enumerate(lines, start=1) if not line.endswith("\\"))
        typed, output = "\n".join(lines[:size]), "\n".join(lines[size:]).rstrip()
        line = block.line + block.body[: block.body.index(part)].count("\n")
        status = _STATUS.search(output)
        allowed = frozenset({int(status[1])}) if status else _allowed(typed)
        yield Command(line, _COMMENT.sub("", typed), None, allowed, output or None)


def _script(block: Block) -> Iterator[Command]:
    """Read a block that is commands alone, a line each but for `\\` and `<<EOF`."""
    lines = block.body.splitlines()
    user, number = None, 0
    while number < len(lines):
        first = number
        if said := _AS.match(lines[number]):
            user = said[1]
        size = _size(lines[first:])
        number += size
        typed = "\n".join(lines[first:number])
        text = typed if _HEREDOC.search(lines[first]) else _COMMENT.sub("", typed)
        if text.strip():
            yield Command(block.line + first, text.strip(), user, _allowed(typed), None)


def _size(lines: list[str]) -> int:
    """Count the lines of the first command."""
    if end := _HEREDOC.search(lines[0]):
        return lines.index(end[1]) + 1
    return next(n for n, line in enumerate(lines, start=1) if not _COMMENT.sub("", line).endswith("\\"))


def _allowed(typed: str) -> frozenset[int]:
    said = _EXITS.search(typed)
    if said is None:
        return frozenset({0})
    return frozenset({int(said[1])} | ({0} if said["maybe"] else set()))
