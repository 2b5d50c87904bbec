"""How each file of a push is to be sent, decided from its name, size and first bytes."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltareg.errors import Problem, Refused
from deltareg.identity.carried import ARCHIVES, CODE, PICKLES
from deltareg.identity.left_out import is_sent
from deltareg.refs import LineRef
from deltareg.service.hub.files import CommitFile
from deltareg.service.push.staging import check_room
from deltareg.tensors.header import CONVERT_FIX, looks_like_pickle

LARGE_BYTES = 32 << 20
"""What is larger does not come within a commit, and all that does is no larger together."""
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class AnnouncedFile:
    """A file to be pushed: its path, its length, and its first bytes (base64)."""

    path: str
    size_bytes: int
    sample: str


def modes(line: LineRef, files: Sequence[AnnouncedFile], there: Mapping[str, CommitFile]) -> list[Json]:
    """Return how each file is to be sent: within the commit, apart, or not at all.

    Raises:
        Refused: A file is code, an archive or a pickle.
        QuotaExceeded: The files are too large for this interface.
    """
    to_send = [file for file in files if is_sent(file.path)]
    problems = [problem for file in to_send if (problem := _problem(file)) is not None]
    if problems:
        raise Refused(problems)
    check_room(str(line), sum(file.size_bytes for file in to_send))
    within: set[str] = set()
    room = LARGE_BYTES
    for file in sorted(to_send, key=lambda each: each.size_bytes):
        if file.size_bytes <= room:
            room -= file.size_bytes
            within.add(file.path)
    mode_by_path = {file.path: "regular" if file.path in within else "lfs" for file in to_send}
    return [_mode(file, mode_by_path.get(file.path), there.get(file.path)) for file in files]


def _mode(file: AnnouncedFile, mode: str | None, known: CommitFile | None) -> Json:
    return {
        "path": file.path,
        "uploadMode": mode or "regular",
        "shouldIgnore": mode is None,
        "oid": known.sha256 if mode == "lfs" and known is not None else None,
    }


def _problem(file: AnnouncedFile) -> Problem | None:
    if file.path.endswith(CODE):
        return Problem("code_file", f"{file.path} is code; a delta carries none", fix="take it out of the folder")
    if file.path.endswith(ARCHIVES):
        return Problem("not_safetensors", f"{file.path} is an archive", fix="push the folder")
    if file.path.endswith(PICKLES) or looks_like_pickle(_head(file.sample)):
        return Problem("pickle", f"{file.path} is a pickle, which can run code", fix=CONVERT_FIX)
    return None


def _head(sample: str) -> bytes:
    try:
        return base64.b64decode(sample[:1_024])[:4]
    except (binascii.Error, ValueError):
        return b""
