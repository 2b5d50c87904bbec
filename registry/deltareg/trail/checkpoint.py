"""Checkpoints: the size and root of the log at a time, signed by the server.

The format is https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md: a signed note with the
log's origin, its number of rows and the root over them.
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
        origin: The log's name, created once for a registry and unique.
        size: The number of rows.
        root: The root over them.
    """

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of a note; lines after the root belong to others and are ignored.

        Raises:
            BadSignature: It is not the text of a checkpoint.
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
        """Read the checkpoint in a note, whoever signed it.

        Raises:
            BadSignature: It is not a checkpoint.
        """
        text, _, _ = note.rpartition("\n\n")
        return cls.parse(f"{text}\n")

    def text(self) -> str:
        """Return the text to sign."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, key: SigningKey) -> str:
        """Sign it as a note, under the log's name."""
        return sign_note(self.text(), key, name=self.origin)


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with a valid signature.

    Attributes:
        checkpoint: The checkpoint.
        note: The signed note.
        key: The key that signed it.
    """

    checkpoint: Checkpoint
    note: str
    key: PublicKey


def open_checkpoint(note: str, keys: Iterable[PublicKey], *, origin: str | None = None) -> SignedCheckpoint:
    """Return the checkpoint that one of the keys signed.

    Args:
        note: The note.
        keys: Keys of trusted servers.
        origin: The log that it must belong to; None for any.

    Raises:
        BadSignature: None of them signed it, it is not a checkpoint, or it belongs to another log.
    """
    name = note.partition("\n")[0]
    opened: OpenedNote = open_note(note, keys, name=name)
    checkpoint = Checkpoint.parse(opened.text)
    if origin is not None and checkpoint.origin != origin:
        raise BadSignature(f"the checkpoint is of the log {checkpoint.origin[:80]}, not of {origin[:80]}", fix=_FIX)
    return SignedCheckpoint(checkpoint, note, opened.key)
