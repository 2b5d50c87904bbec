"""What a verification of a log leaves, so that the next one reads only the rows since.

Whoever keeps it has read all these rows and computed their tree. A later log must continue this
very tree, so no row in it can be exchanged, with its hashes, unseen. Only a row that was changed
afterwards beside its sealed hash shows when all rows are read again.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from deltareg.documents.json_values import is_count, is_list, is_object, parse_json
from deltareg.errors import BadSignature
from deltareg.trail.checkpoint import Checkpoint
from deltareg.trail.merkle import HASH_BYTES, Frontier

_FORM = "deltareg.verified-log/1"
_MOST = 1 << 62


class RowNumbers:
    """A set of row numbers that are mostly consecutive: kept as ranges, whatever their order."""

    def __init__(self, ranges: Sequence[tuple[int, int]] = ()) -> None:
        """Start with ranges in order: the first and the last number of each."""
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def add(self, number: int) -> bool:
        """Add a number; return False if it was there."""
        place = bisect_right(self._firsts, number)
        if place and number <= self._lasts[place - 1]:
            return False
        joins_left = place > 0 and self._lasts[place - 1] == number - 1
        joins_right = place < len(self._firsts) and self._firsts[place] == number + 1
        if joins_left and joins_right:
            self._lasts[place - 1] = self._lasts[place]
            del self._firsts[place], self._lasts[place]
        elif joins_left:
            self._lasts[place - 1] = number
        elif joins_right:
            self._firsts[place] = number
        else:
            self._firsts.insert(place, number)
            self._lasts.insert(place, number)
        return True

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The first and the last number of each range, in order."""
        return list(zip(self._firsts, self._lasts, strict=True))


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """A log that was verified up to a checkpoint.

    Attributes:
        note: The checkpoint, as it was signed; it covers all rows that were read.
        peaks: The hashes of the tree's right edge, in hex.
        rows: The numbers of its rows in the audit trail, as ranges.
        said: The last row about each thing, as `StateCheck` keeps it.
        newest_at: The latest moment of a row, in µs.
        statements: How many rows have signed statements.
        from_before: How many rows are older than the log.
        whole_at: When all rows were read for the last time, in seconds since the epoch.
    """

    note: str
    peaks: Sequence[str]
    rows: Sequence[tuple[int, int]]
    said: Mapping[str, Mapping[str, object]]
    newest_at: int
    statements: int
    from_before: int
    whole_at: int

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, which was verified before it was kept."""
        return Checkpoint.said_in(self.note)

    def frontier(self) -> Frontier:
        """Return the tree's right edge."""
        return Frontier.with_peaks(self.checkpoint.size, [bytes.fromhex(peak) for peak in self.peaks])

    def encode(self) -> str:
        """Write it as JSON."""
        return json.dumps({"form": _FORM, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Self | None:
        """Read what `encode` wrote; None for anything else, or for what does not agree with itself."""
        try:
            found = cls._read(parse_json(text))
            is_whole = found is not None and found.frontier().root() == found.checkpoint.root
        except (ValueError, BadSignature):
            return None
        return found if is_whole else None

    @classmethod
    def _read(cls, fields: object) -> Self | None:
        if not is_object(fields) or fields.get("form") != _FORM:
            return None
        note, peaks, rows, said = (fields.get(name) for name in ("note", "peaks", "rows", "said"))
        names = ("newest_at", "statements", "from_before", "whole_at")
        counts = [each for name in names if is_count(each := fields.get(name), below=_MOST)]
        if not (isinstance(note, str) and is_list(peaks) and is_list(rows) and is_object(said)):
            return None
        hashes = [peak for peak in peaks if isinstance(peak, str) and len(peak) == 2 * HASH_BYTES]
        ranges = [(pair[0], pair[1]) for pair in rows if is_list(pair) and len(pair) == 2]
        numbers = [(a, b) for a, b in ranges if isinstance(a, int) and isinstance(b, int)]
        states = {subject: state for subject, state in said.items() if is_object(state)}
        if (len(counts), len(hashes), len(numbers), len(states)) != (len(names), len(peaks), len(rows), len(said)):
            return None
        return cls(note, hashes, numbers, states, *counts)
