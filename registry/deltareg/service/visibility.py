"""Which namespaces are private and which are public, kept as long as none of them changes.

The number that visibility stands at is read with every token (`LiveTokenRow.epoch`); where it is
the one that was kept, nothing else is read, and where it is another one the names are read anew.
"""

from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from deltareg.db.access import namespaces as queries


@dataclass(frozen=True, slots=True)
class Visibility:
    """The namespaces that are not as visible as most.

    Attributes:
        epoch: The number that it was read at.
        private: Names of those that are seen by their members alone.
        public: Names of those that nobody needs a token for, where the server allows that.
    """

    epoch: int | None
    private: frozenset[str]
    public: frozenset[str]


_UNKNOWN: Final = Visibility(None, frozenset(), frozenset())


@dataclass(slots=True)
class Visibilities:
    """Keeps what was read last; may be shared by threads."""

    _kept: Visibility = field(default=_UNKNOWN)

    def at(self, conn: sa.Connection, epoch: int | None) -> Visibility:
        """Give what stands at a number, or what has come since."""
        kept = self._kept
        if epoch is not None and kept.epoch == epoch:
            return kept
        number, rows = queries.uncommon(conn)
        names = {
            wanted: frozenset(name for name, visibility in rows if visibility == wanted)
            for wanted in ("private", "public")
        }
        self._kept = Visibility(number, names["private"], names["public"])
        return self._kept
