"""Checkpoints: the size and the root of the log at a moment, signed by the server.

The form is https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md: a signed note of which log
it is (its origin), how many rows it has and the root over them.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from deltareg.errors import BadSignature
from deltareg.signing.keys import PublicKey, SigningKey
from deltareg.signing.notes import OpenedNote, open_note, sign_note
from deltareg.trail.merkle import HASH_BYTES

_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
_FIX = "get the checkpoint again from where it was made"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log.

    Attributes:
        origin: Which log it is; made once for a registry, and never of another.
        size: How many rows it has.
        root: The root over them.
    """

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a note says; lines after the root are of others and left alone.

        Raises:
            BadSignature: It says no such thing.
        """
        origin, size, root, *_ = [*text.split("\n"), "", "", ""]
        try:
            decoded = base64.b64decode(root, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadSignature("a checkpoint has no root", fix=_FIX) from error
        is_spelled = base64.b64encode(decoded).decode() == root and len(decoded) == HASH_BYTES
        if not origin or _SIZE.fullmatch(size) is None or not is_spelled:
            raise BadSignature("what is signed is no checkpoint of a log", fix=_FIX)
        return cls(origin, int(size), decoded)

    @classmethod
    def said_in(cls, note: str) -> Self:
        """Read what a note says, whoever signed it.

        Raises:
            BadSignature: It says no such thing.
        """
        text, _, _ = note.rpartition("\n\n")
        return cls.parse(f"{text}\n")

    def text(self) -> str:
        """Write what is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, key: SigningKey) -> str:
        """Write it as a note, signed under the log's name."""
        return sign_note(self.text(), key, name=self.origin)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose signature holds.

    Attributes:
        checkpoint: What it says.
        note: As it was signed.
        key: The key that signed it.
    """

    checkpoint: Checkpoint
    note: str
    key: PublicKey


def open_checkpoint(note: str, keys: Iterable[PublicKey], *, origin: str | None = None) -> SignedCheckpoint:
    """Give the checkpoint that one of the keys signed.

    Args:
        note: The note.
        keys: Of servers that are trusted.
        origin: The log that it must be of; any when None.

    Raises:
        BadSignature: None of them did, or it is no checkpoint, or of another log.
    """
    name = note.partition("\n")[0]
    opened: OpenedNote = open_note(note, keys, name=name)
    checkpoint = Checkpoint.parse(opened.text)
    if origin is not None and checkpoint.origin != origin:
        raise BadSignature(f"the checkpoint is of the log {checkpoint.origin[:80]}, not of {origin[:80]}", fix=_FIX)
    return SignedCheckpoint(checkpoint, note, opened.key)
