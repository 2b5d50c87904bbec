"""The body of a commit: lines of JSON, each an operation; the bytes of inline files are staged.

It is read from a file line by line, since the length of a line is not known before it arrives.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from deltareg.documents.json_values import is_count, is_object, is_text, parse_json
from deltareg.errors import InvalidInput, QuotaExceeded
from deltareg.identity.left_out import is_sent
from deltareg.service.hub.committing import MOST_FILES, CommitOperations
from deltareg.service.hub.files import CommitFile

INLINE_BYTES = 32 << 20
"""What one commit may carry in its body."""
COMMIT_BYTES = 48 << 20
"""What its body may be: that in base64, and its other lines."""
_LINE_BYTES = INLINE_BYTES // 3 * 4 + (1 << 16)
_PATH_LETTERS = 1_000
_MESSAGE_LETTERS = 1_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
Json = dict[str, object]
Stage = Callable[[str, bytes], None]


def read_commit(body: BinaryIO, *, stage: Stage) -> CommitOperations:
    """Read a commit.

    Args:
        body: The whole body, at its beginning.
        stage: Keeps the bytes of a file, with their sha256.

    Raises:
        InvalidInput: A line does not follow the protocol.
        QuotaExceeded: The commit has too many inline bytes or too many operations.
    """
    commit = _Read(stage)
    while line := body.readline(_LINE_BYTES + 1):
        if len(line) > _LINE_BYTES:
            raise _too_much()
        if line.strip():
            commit.take(*_operation(line))
    return CommitOperations(
        commit.files, commit.copied, commit.deleted, _message(commit.header), _text(commit.header, "parentCommit")[:40]
    )


@dataclass(slots=True)
class _Read:
    """The operations of a commit that have been read so far."""

    stage: Stage
    header: Json = field(default_factory=dict[str, object])
    files: dict[str, CommitFile] = field(default_factory=dict[str, CommitFile])
    copied: dict[str, str] = field(default_factory=dict[str, str])
    deleted: list[str] = field(default_factory=list[str])
    inline_bytes: int = 0

    def take(self, key: str, value: Json) -> None:
        """Add an operation."""
        match key:
            case "header":
                self.header = value
            case "file":
                self._take_inline(_path(value), _content(value))
            case "lfsFile":
                self._take_large(_path(value), value)
            case "deletedFile" | "deletedEntry":
                self.deleted.append(_path(value))
            case "deletedFolder":
                self.deleted.append(_path(value).rstrip("/") + "/")
            case _:
                raise InvalidInput(f"a commit has no operation {key[:40]!r} here")
        if len(self.files) + len(self.copied) + len(self.deleted) > MOST_FILES:
            raise QuotaExceeded(f"a commit has at most {MOST_FILES} operations")

    def _take_large(self, path: str, value: Json) -> None:
        """Take a file that was sent apart; one without a size is a copy of what is there."""
        if "size" in value:
            self.files[path] = CommitFile(path, *_large(value))
        else:
            self.copied[path] = _large({**value, "size": 0})[1]

    def _take_inline(self, path: str, raw: bytes) -> None:
        self.inline_bytes += len(raw)
        if self.inline_bytes > INLINE_BYTES:
            raise _too_much()
        sha256 = hashlib.sha256(raw).hexdigest()
        if is_sent(path):
            self.stage(sha256, raw)
        self.files[path] = CommitFile(path, len(raw), sha256)


def _too_much() -> QuotaExceeded:
    return QuotaExceeded(
        f"a commit carries at most {INLINE_BYTES} bytes in itself", fix="a current client sends larger files apart"
    )


def _operation(line: bytes) -> tuple[str, Json]:
    try:
        operation = parse_json(line)
    except ValueError:
        operation = None
    if not is_object(operation):
        raise InvalidInput("a line of the commit is no JSON object")
    key, value = operation.get("key"), operation.get("value")
    if not isinstance(key, str) or not is_object(value):
        raise InvalidInput("a line of the commit has no operation: a key and its value")
    return key, value


def _path(value: Json) -> str:
    path = value.get("path")
    if not isinstance(path, str) or not 0 < len(path) <= _PATH_LETTERS or not is_text(path):
        raise InvalidInput(f"an operation of the commit has no path of at most {_PATH_LETTERS}")
    return path


def _content(value: Json) -> bytes:
    content, encoding = value.get("content"), value.get("encoding", "base64")
    if not isinstance(content, str) or encoding != "base64":
        raise InvalidInput("a file of the commit has no content in base64")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("a file of the commit has no content in base64") from error


def _large(value: Json) -> tuple[int, str]:
    size, oid = value.get("size"), value.get("oid")
    is_digest = isinstance(oid, str) and _SHA256.fullmatch(oid) is not None
    if value.get("algo", "sha256") != "sha256" or not is_digest or not is_count(size):
        raise InvalidInput("a large file of the commit needs a sha256 as oid, and a size")
    return size, str(oid)


def _message(header: Json) -> str:
    parts = [_text(header, "summary").strip(), _text(header, "description").strip()]
    return "\n\n".join(part for part in parts if part)[:_MESSAGE_LETTERS]


def _text(value: Json, name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        return ""
    if not is_text(text):
        raise InvalidInput(f"the {name} of the commit holds a NUL character or half of one, which is no text")
    return text
