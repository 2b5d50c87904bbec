"""Texts in copies of rows: their digests, ids, names and numbers differ from copy to copy."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from tests.scale.placeholders import NAMES, NUMBER, REVISION
from tests.scale.snapshot import HEX

Cell = Callable[["Copy"], object]
Named = tuple[str, int]
_PIECES = re.compile(f"{HEX.pattern}|{NAMES.pattern}|{NUMBER.pattern}|{REVISION.pattern}")


@dataclass
class Copy:
    """One copy: what takes the place of what.

    Attributes:
        salt: Tells its digests from those of other copies.
        shift_us: How much later its moments are.
        number: The number of its version, or of the version that it is about.
        revision: The revision that a channel has by it.
        ids: New row ids, by table and old id; others stay as they are.
        words: New names, digests and ids, by the old ones; digests that are missing are drawn.
        manifest: The text of its manifest, as soon as it is known.
    """

    salt: str
    shift_us: int = 0
    number: int = 1
    revision: int = 1
    ids: dict[Named, int] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    manifest: bytes = b""

    def word(self, old: str) -> str:
        """Return what stands where `old` stood."""
        new = self.words.get(old)
        if new is None:
            new = self.words[old] = self._draw(old)
        return new

    def share(self, what: str) -> float:
        """Draw a number from 0 to 1, the same for the same thing."""
        return int.from_bytes(sha256(f"{self.salt} {what}".encode()).digest()[:6]) / (1 << 48)

    def _draw(self, old: str) -> str:
        drawn = sha256(f"{self.salt} {old}".encode()).hexdigest()
        if "-" in old:
            return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-8{drawn[17:20]}-{drawn[20:32]}"
        return drawn[: len(old)]


class Pattern:
    """A text with places in it that differ from copy to copy."""

    def __init__(self, text: str, own: frozenset[str], numbers: "Numbers"):
        self._parts: list[str | Cell] = []
        at = 0
        for found in _PIECES.finditer(text):
            cell = _cell_of(found, own, numbers)
            if cell is not None:
                self._parts += [text[at : found.start()], cell]
                at = found.end()
        self._parts.append(text[at:])

    @property
    def is_constant(self) -> bool:
        return len(self._parts) == 1

    def fill(self, copy: Copy) -> str:
        return "".join(part if isinstance(part, str) else str(part(copy)) for part in self._parts)


@dataclass(frozen=True)
class Numbers:
    """The numbers that a step's version and revision have: others are told from there."""

    version: int = 1
    revision: int = 1


def _cell_of(found: re.Match[str], own: frozenset[str], numbers: Numbers) -> Cell | None:
    """Return what stands in the place of a word; None where it stays."""
    old = found[0]
    if NUMBER.match(found.string, found.start()):
        prefix, later = old[:2] if old.startswith(":v") else "", int(old.removeprefix(":v")) - numbers.version
        return lambda copy: f"{prefix}{max(1, copy.number + later)}"
    if REVISION.match(found.string, found.start()):
        step = int(old) - numbers.revision
        return lambda copy: max(0, copy.revision + step)
    return (lambda copy: copy.word(old)) if old in own or NAMES.fullmatch(old) else None
