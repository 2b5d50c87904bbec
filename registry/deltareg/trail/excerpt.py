"""A part of a log as lines of JSON: some rows, each proven to be in the log that a checkpoint signs.

An auditor who is given the rows of one namespace, or of one quarter, verifies them without the
registry and without reading anybody else's. Rows that were left out do not show: that takes the
whole log.

The first line names the log and what was asked for. A checkpoint comes before the rows that are
proven under it, with the rotations of the servers' key. The last line counts the rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import BadSignature, IntegrityFailure, InvalidInput
from deltareg.signing.keys import PublicKey
from deltareg.trail.check import LogDefect, LogEvidence
from deltareg.trail.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from deltareg.trail.leaves import STATEMENT, hash_of
from deltareg.trail.merkle import check_inclusion
from deltareg.trail.rotations import RotationProof, ServerKeyChain, follow_rotations
from deltareg.trail.statements import check_change

FORM: Final = "deltareg.audit-excerpt/1"
_FIX = "write it with: deltareg audit export NS --proofs --out FILE"


class ExcerptCheck:
    """Reads an excerpt from its beginning; `findings` has its defects in order."""

    def __init__(self, first: Mapping[str, object], keys: Iterable[PublicKey], known: LogEvidence) -> None:
        """Start a check.

        Args:
            first: The first line.
            keys: Keys of trusted servers.
            known: What was kept of the log elsewhere.

        Raises:
            InvalidInput: The line is not the first of an excerpt.
        """
        origin = first.get("origin")
        if first.get("form") != FORM or not isinstance(origin, str):
            raise InvalidInput("it is no excerpt of a log", fix=_FIX)
        self.origin = origin
        self.rows = 0
        self.statements = 0
        self.findings: list[LogDefect] = []
        self.last: SignedCheckpoint | None = None
        self._keys, self._known = list(keys), known
        self._newest_id = 0
        self._is_whole = False

    def read(self, lines: Iterable[Mapping[str, object]]) -> None:
        """Read the lines after the first.

        Raises:
            InvalidInput: A line is none of an excerpt.
        """
        for line in lines:
            self._is_whole = False
            match line:
                case {"checkpoint": str(note)}:
                    self._checkpoint(note, line.get("rotations"))
                case {"position": int(position), "leaf": leaf, "hashes": hashes} if is_object(leaf):
                    statement = line.get("statement", "")
                    self._row(position, leaf, _hashes(hashes), statement if isinstance(statement, str) else "")
                case {"end": True, "rows": int(rows)}:
                    self._end(rows)
                case _:
                    raise InvalidInput(f"a line that is none of an excerpt: {str(line)[:80]}", fix=_FIX)
        if not self._is_whole:
            self._add("truncated", None, None, "the end of the excerpt is missing")

    def _checkpoint(self, note: str, rotations: object) -> None:
        try:
            chain = ServerKeyChain(self._keys)
            follow_rotations(chain, _rotations(rotations), Checkpoint.said_in(note))
            self.last = open_checkpoint(note, chain.keys, origin=self.origin)
            self._keys = chain.keys
        except BadSignature as error:
            self.last = None
            self._add("unsigned", None, None, str(error))
            return
        head = self.last.checkpoint
        for where, kept in self._known.checkpoints:
            if kept.origin == head.origin and kept.size == head.size and kept.root != head.root:
                self._add("forked", None, None, f"its first {head.size} rows are others than {where} says")

    def _row(self, position: int, leaf: Mapping[str, object], hashes: list[bytes], statement: str) -> None:
        number = leaf.get("id")
        row = number if isinstance(number, int) else None
        self.rows += 1
        if row is None or row <= self._newest_id:
            self._add("reordered", position, row, "rows are not in the order of their numbers")
        self._newest_id = max(self._newest_id, row or 0)
        digest = hash_of(leaf)
        if self._known.leaves.get(position, digest) != digest:
            self._add("edited", position, row, "the row is another than was kept of it elsewhere")
        if self.last is None:
            self._add("unsigned", position, row, "the row stands under no checkpoint of a trusted server")
            return
        head = self.last.checkpoint
        try:
            check_inclusion(digest, position, head.size, hashes, root=head.root)
            if STATEMENT in leaf:
                check_change(statement.encode(), leaf, self._keys)
                self.statements += 1
        except BadSignature as error:
            self._add("statement", position, row, str(error))
        except IntegrityFailure:
            subject = str(leaf.get("subject"))[:80]
            self._add("edited", position, row, f"what it says of {subject} is not what was sealed")

    def _end(self, rows: int) -> None:
        self._is_whole = True
        if rows != self.rows:
            self._add("truncated", None, None, f"it has {self.rows} rows and says {rows}")

    def _add(self, what: str, position: int | None, row: int | None, text: str) -> None:
        self.findings.append(LogDefect(what, position, row, text))


def _rotations(value: object) -> Iterator[RotationProof]:
    for each in filter(is_object, value if is_list(value) else []):
        position, leaf, statement = each.get("position"), each.get("leaf"), each.get("statement")
        if isinstance(position, int) and is_object(leaf) and isinstance(statement, str) and "hashes" in each:
            yield RotationProof(position, leaf, statement, tuple(_hashes(each["hashes"])))


def _hashes(value: object) -> list[bytes]:
    try:
        return [bytes.fromhex(str(each)) for each in value] if is_list(value) else []
    except ValueError:
        return []
