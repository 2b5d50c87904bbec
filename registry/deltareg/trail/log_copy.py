"""The copy of the log outside the database: a line per batch with its checkpoint and hashes.

The hashes show which row has changed, even if somebody rewrote the database with all of its hashes.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Self

from deltareg.documents.json_values import is_object, parse_json
from deltareg.errors import BadSignature, InvalidInput
from deltareg.signing.keys import PublicKey
from deltareg.trail.check import LogEvidence
from deltareg.trail.checkpoint import Checkpoint, open_checkpoint
from deltareg.trail.merkle import HASH_BYTES, Frontier


class KeptLog:
    """Reads a kept log; `known` is the evidence, `cut_off` counts incomplete lines."""

    def __init__(self, keys: Iterable[PublicKey], *, where: str) -> None:
        """Start with nothing read.

        Args:
            keys: Keys of trusted servers.
            where: The name of the source, for messages.
        """
        self.known = LogEvidence()
        self.cut_off = 0
        self._keys, self._where = list(keys), where
        self._frontier: Frontier | None = Frontier()

    @classmethod
    def read(cls, text: str, keys: Iterable[PublicKey], *, where: str) -> Self:
        """Read a note, or the lines of a file; a last line that was cut off is skipped.

        Raises:
            BadSignature: A checkpoint has no trusted signature, or hashes are not those that it
                signs.
            InvalidInput: It is neither a note nor such a file.
        """
        checkpoints = cls(keys, where=where)
        if not text.startswith("{"):
            checkpoints.add(text, b"")
            return checkpoints
        lines = [line for line in text.split("\n")[:-1] if line.strip()]
        for line in lines:
            checkpoints.add_line(line)
        return checkpoints

    @staticmethod
    def head_of(line: str) -> Checkpoint:
        """Read the checkpoint in a line, whoever signed it.

        Raises:
            BadSignature: There is no checkpoint.
            ValueError: The line is incomplete.
        """
        value: object = parse_json(line)
        note = value.get("checkpoint") if is_object(value) else None
        return Checkpoint.said_in(note if isinstance(note, str) else "")

    def add_line(self, line: str) -> None:
        """Add a line that `kept_line` wrote."""
        try:
            value: object = parse_json(line)
        except ValueError:  # a server was killed while it wrote it
            self._frontier, self.cut_off = None, self.cut_off + 1
            return
        note = value.get("checkpoint") if is_object(value) else None
        hashes = value.get("leaves") if is_object(value) else None
        if not isinstance(note, str) or not isinstance(hashes, str):
            raise InvalidInput(f"{self._where} holds no checkpoints")
        try:
            self.add(note, base64.b64decode(hashes, validate=True))
        except ValueError as error:
            raise InvalidInput(f"{self._where} holds hashes that are none") from error

    def add(self, note: str, hashes: bytes) -> None:
        """Add a checkpoint, and the hashes of the rows that are new in it."""
        checkpoint = open_checkpoint(note, self._keys).checkpoint
        self.known.checkpoints.append((self._where, checkpoint))
        frontier = self._frontier
        if frontier is None:
            return
        leaves = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        if frontier.size + len(leaves) != checkpoint.size:
            self._frontier = None  # a line is missing, so these hashes show nothing
            return
        begin = frontier.size
        for leaf in leaves:
            frontier.add(leaf)
        if frontier.root() != checkpoint.root:
            raise BadSignature(f"{self._where} holds hashes that its checkpoints do not sign")
        self.known.leaves.update(enumerate(leaves, start=begin))


def kept_line(note: str, leaves: Sequence[bytes]) -> str:
    """Format a batch as a line of the kept log, with its newline."""
    hashes = base64.b64encode(b"".join(leaves)).decode()
    return json.dumps({"checkpoint": note, "leaves": hashes}, ensure_ascii=False) + "\n"
