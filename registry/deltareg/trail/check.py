"""Checking a log against itself and against earlier evidence of it.

A log is read in order: rows with their hashes, nodes, checkpoints. The tree is rebuilt over the
rows. The database is not trusted, only signatures of servers and earlier checkpoints that somebody
kept. These reveal rows that were changed, deleted, inserted or moved, an end that was cut off, and
a log that was rewritten.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from deltareg.errors import BadSignature
from deltareg.signing.keys import PublicKey
from deltareg.trail.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from deltareg.trail.leaves import STATEMENT, hash_of
from deltareg.trail.merkle import EMPTY, Frontier
from deltareg.trail.rotations import ServerKeyChain, new_key_in
from deltareg.trail.state import StateCheck
from deltareg.trail.statements import check_change
from deltareg.trail.verified import RowNumbers, VerifiedLog

BEGINS: Final = "log.begin"
"""The action of the row with which a log begins: those before it are older than the log."""
_LATE_US = 600_000_000


@dataclass(frozen=True, slots=True)
class LogDefect:
    """A defect of a log.

    Attributes:
        what: The kind of defect: edited, deleted, inserted, reordered, truncated, forked, unsigned,
            statement, damaged, state.
        position: The first position concerned, counted from 0; None if it is not about a row.
        row: The number of that row in the audit trail; None if unknown.
        text: The defect, in words.
    """

    what: str
    position: int | None
    row: int | None
    text: str


@dataclass(frozen=True, slots=True)
class LogLeaf:
    """A row in a log.

    Attributes:
        position: Its position, counted from 0.
        row: Its number in the audit trail.
        hash: The stored hash.
        sealed_by: The size of the checkpoint that it was sealed under.
        leaf: The row's current content; None if it is gone.
        statement: The signed statement about it; empty for most.
    """

    position: int
    row: int
    hash: bytes
    sealed_by: int
    leaf: Mapping[str, object] | None
    statement: str = ""


@dataclass(slots=True)
class LogEvidence:
    """Evidence that somebody kept of a log: checkpoints by source, and hashes by position."""

    checkpoints: list[tuple[str, Checkpoint]] = field(default_factory=list[tuple[str, Checkpoint]])
    leaves: dict[int, bytes] = field(default_factory=dict[int, bytes])


class LogCheck:
    """Reads a log from its beginning; `findings` has its defects in order."""

    def __init__(
        self,
        origin: str,
        keys: Iterable[PublicKey],
        known: LogEvidence | None = None,
        *,
        revoked: Iterable[PublicKey] = (),
        since: VerifiedLog | None = None,
    ) -> None:
        """Start a check.

        Args:
            origin: The origin that the log claims.
            keys: Keys of trusted servers.
            known: The evidence that was kept of it.
            revoked: Keys of servers that are no longer trusted. Their checkpoints prove nothing by
                themselves: a later one of a trusted key must cover the same rows.
            since: What an earlier check left: only the rows behind it are read. A trusted key must
                have signed its checkpoint.

        Raises:
            BadSignature: No trusted key signed the checkpoint of `since`.
        """
        self.origin = origin
        self.findings: list[LogDefect] = []
        self.notices: list[str] = []
        self.waiting = 0
        self.statements = 0 if since is None else since.statements
        self.from_before = 0 if since is None else since.from_before
        self.last: SignedCheckpoint | None = None
        self._revoked = list(revoked)
        self._chain = ServerKeyChain(keys, revoked=self._revoked)
        self._replaced_at: dict[str, int] = {}
        self._known = known or LogEvidence()
        self._frontier = Frontier() if since is None else since.frontier()
        self._state = StateCheck() if since is None else StateCheck(since.said)
        self._sealed_state: dict[str, dict[str, object]] | None = None
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._seen = RowNumbers() if since is None else RowNumbers(since.rows)
        self._roots = {0: EMPTY, self._frontier.size: self._frontier.root()}
        self._wanted = {checkpoint.size for _, checkpoint in self._known.checkpoints if checkpoint.size}
        self._row_at: dict[int, int] = {}
        self._batch: dict[int, int] = {}  # of rows no checkpoint was read over: those they name
        self._newest_at = 0 if since is None else since.newest_at
        self._checked = self._frontier.size
        if since is not None:
            self.last = open_checkpoint(since.note, self._chain.keys, origin=origin)

    @property
    def size(self) -> int:
        """The number of rows read so far."""
        return self._frontier.size

    @property
    def new_keys(self) -> list[PublicKey]:
        """The keys of servers that rows of the log put in the place of trusted ones, signed by those."""
        return self._chain.found

    def entry(self, entry: LogLeaf) -> None:
        """Read the next row."""
        position = self.size
        if entry.position != position:
            finding = "deleted" if entry.position > position else "inserted"
            self._find(
                finding,
                position,
                entry.row,
                f"position {position} of the log is missing, {entry.position} stands there",
            )
        if not self._seen.add(entry.row):
            self._find("inserted", position, entry.row, f"row {entry.row} is in the log twice")
        leaf_hash = self._leaf(entry, position)
        for level, number, node in self._frontier.add(leaf_hash):
            self._nodes[level, number] = node
        if self.size in self._wanted:
            self._roots[self.size] = self._frontier.root()
        self._batch.setdefault(entry.sealed_by, position)
        self._row_at[position] = entry.row

    def node(self, level: int, number: int, kept: bytes) -> None:
        """Read a hash over a part of the log that was already read."""
        if self._nodes.pop((level, number), None) != kept:
            first = number << 8 * level
            self._find(
                "damaged",
                None,
                None,
                f"a hash over the rows from position {first} on, of which proofs are made, is not theirs",
            )

    def checkpoint(self, note: str, *, kept_as: int) -> None:
        """Read a checkpoint; rows and checkpoints come in the order of the log.

        Args:
            note: The signed note.
            kept_as: The number of rows that it is stored under.
        """
        begin = self._checked
        try:
            signed = open_checkpoint(note, [*self._chain.keys, *self._revoked], origin=self.origin)
        except BadSignature as error:
            self._find(
                "unsigned",
                None,
                None,
                f"{error.message} (a checkpoint behind row {self._row_at.get(self.size - 1, 0)} of the audit trail)",
            )
            return
        size = signed.checkpoint.size
        self._batch.pop(size, None)
        if signed.key in self._revoked:
            return
        self._missing()
        if size != kept_as:
            self._find("damaged", None, None, f"a checkpoint over {size} rows is kept as one over {kept_as}")
        elif size == begin:
            self._find("damaged", None, None, f"two checkpoints sign {size} rows")
        elif size != self.size:
            finding = "truncated" if size > self.size else "damaged"
            text = f"a checkpoint signs {size} rows, of which {self.size} are there"
            self._find(finding, min(size, self.size), None, text)
        elif signed.checkpoint.root != self._frontier.root():
            self._name(begin, size)
        else:
            self.last = signed
            self._notice_replaced(signed)
        self._checked = max(self._checked, min(size, self.size))

    def outside(self, leaf: Mapping[str, object], *, is_waiting: bool) -> None:
        """Read a row of the audit trail that is not in the log."""
        self._sealed_state = self._state.copy_said() if self._sealed_state is None else self._sealed_state
        self.waiting += is_waiting
        self._state.row(leaf)
        if not is_waiting:
            row = leaf.get("id")
            number = row if isinstance(row, int) else None
            description = f"row {row} ({leaf.get('action')} of {leaf.get('subject')})"
            self._find("inserted", None, number, f"{description} is in the audit trail, not in the log")

    def state(self, subject: str, says: Mapping[str, object]) -> None:
        """Read the current state in the tables of a thing that the log has rows of."""
        self._state.state(subject, says)

    def hold_state(self, *, size: int | None) -> None:
        """Compare the state in the tables with the rows, unless more rows were sealed meanwhile."""
        if size is None:
            return
        if size < self.size:
            self._find("truncated", size, None, f"{self.size} rows were read of the log, which has {size}")
            return
        if size != self.size:
            self.notices.append("rows were sealed meanwhile, so what is served was not held against the log: again")
            return
        for text in self._state.differences():
            self._find("state", None, None, text)

    def cut_off(self) -> None:
        """Record that the end is missing: part of an export was cut off."""
        self._find("truncated", self.size, None, "the export is cut off: its last line is missing")

    def finish(self) -> None:
        """Finish: report missing rows, and compare with the evidence kept elsewhere."""
        if self._nodes:
            self._find("damaged", None, None, "a hash of which proofs are made is missing")
        self._nodes.clear()
        self._missing()
        if self._checked < self.size:
            first = self._checked
            text = f"no checkpoint signs the rows from position {first} on"
            self._find("unsigned", first, self._row_at.get(first), text)
        for where, checkpoint in self._known.checkpoints:
            self._hold(where, checkpoint)
        self.findings.sort(key=lambda each: self.size if each.position is None else each.position)

    def conclude(self, *, whole_at: int) -> VerifiedLog | None:
        """Return what the next check may begin with; None if something is wrong, or not all is signed.

        Args:
            whole_at: When all rows were read for the last time, in seconds since the epoch.
        """
        if self.findings or self.last is None or self.last.checkpoint.size != self.size:
            return None
        return VerifiedLog(
            note=self.last.note,
            peaks=[peak.hex() for peak in self._frontier.peaks],
            rows=self._seen.ranges,
            said=self._state.copy_said() if self._sealed_state is None else self._sealed_state,
            newest_at=self._newest_at,
            statements=self.statements,
            from_before=self.from_before,
            whole_at=whole_at,
        )

    def _notice_replaced(self, signed: SignedCheckpoint) -> None:
        """Tell once of a key that signed after another had taken its place."""
        at = self._replaced_at.get(signed.key.keyid)
        if at is not None and signed.checkpoint.size > at:
            del self._replaced_at[signed.key.keyid]
            self.notices.append(
                f"the checkpoint over {signed.checkpoint.size} rows is signed with the key {signed.key.keyid[:16]},"
                f" which row {self._row_at.get(at - 1, 0)} had replaced: by a server that was not upgraded, or the key"
                " was stolen; then revoke it"
            )

    def _missing(self) -> None:
        for size, position in sorted(self._batch.items()):
            self._find(
                "unsigned",
                position,
                self._row_at.get(position),
                f"the checkpoint over {size} rows, under which rows were sealed, is missing",
            )
        self._batch.clear()

    def _leaf(self, entry: LogLeaf, position: int) -> bytes:
        expected = self._known.leaves.get(position)
        if entry.leaf is None:
            self._find("deleted", position, entry.row, f"row {entry.row} was deleted after it was sealed")
            return entry.hash
        if entry.leaf.get("id") != entry.row:
            self._find("reordered", position, entry.row, f"row {entry.row} says that it is another")
        actual = hash_of(entry.leaf)
        if actual != entry.hash or (expected is not None and expected != actual):
            self._find("edited", position, entry.row, _describe_entry(entry) + " is not what was sealed")
        else:
            self._statement(entry, position)
        self._state.row(entry.leaf)
        if entry.leaf.get("action") == BEGINS:
            self.from_before = position
        self._time(entry)
        return actual

    def _statement(self, entry: LogLeaf, position: int) -> None:
        leaf = entry.leaf or {}
        is_vouched = False
        if STATEMENT in leaf:
            self.statements += 1
            try:
                signers = [*self._chain.keys, *self._revoked]  # which of the two, the log says
                signer = check_change(entry.statement.encode(), leaf, signers)
                is_vouched = self._chain.take(leaf, signer)
                if is_vouched:
                    self._replaced_at[signer.keyid] = position + 1
            except BadSignature as error:
                text = f"{_describe_entry(entry)}: {error.message}"
                self._find("statement", position, entry.row, text)
        new = new_key_in(leaf)
        if new is not None and not is_vouched:
            text = f"row {entry.row}: servers sign with the key {new.keyid[:16]} from there on; no former key vouches"
            self.notices.append(f"{text} for it, as where that was lost")

    def _time(self, entry: LogLeaf) -> None:
        at = (entry.leaf or {}).get("at")
        if not isinstance(at, int):
            return
        if at < self._newest_at - _LATE_US and self._checked:
            self.notices.append(
                f"{_describe_entry(entry)} says that it is older than rows that were sealed before it: a"
                " clock was set back, or somebody put it in"
            )
        self._newest_at = max(self._newest_at, at)

    def _name(self, begin: int, size: int) -> None:
        """Report which rows differ from those that a checkpoint signs, as narrowly as possible."""
        if any(each.position is not None and each.position >= begin for each in self.findings):
            return  # named by itself
        rows = self._row_at
        first, last = rows.get(begin, 0), rows.get(size - 1, 0)
        self._find(
            "forked",
            begin,
            first,
            f"rows {first} to {last} of the audit trail (positions {begin}"
            f" to {size - 1}) are not those that the checkpoint over {size} rows signs: changed,"
            " deleted, put in or moved, with their hashes",
        )

    def _hold(self, where: str, checkpoint: Checkpoint) -> None:
        if checkpoint.origin != self.origin:
            self._find("forked", 0, None, f"{where} is of another log, {checkpoint.origin}")
        elif checkpoint.size > self.size:
            self._find(
                "truncated", self.size, None, f"{where} has {checkpoint.size} rows, of which {self.size} are there"
            )
        elif self._roots.get(checkpoint.size) != checkpoint.root and not any(
            each.position is not None and each.position < checkpoint.size for each in self.findings
        ):
            self._find("forked", 0, None, f"the first {checkpoint.size} rows are not those that {where} signs")

    def _find(self, what: str, position: int | None, row: int | None, text: str) -> None:
        self.findings.append(LogDefect(what, position, row, text))


def _describe_entry(entry: LogLeaf) -> str:
    leaf = entry.leaf or {}
    return f"row {entry.row} ({leaf.get('action')} of {leaf.get('subject')})"
