"""Which namespaces are private and which are public, and where former names lead, until one changes.

The number of the current visibility is read with every token (`LiveTokenRow.epoch`). If it equals
the cached one, nothing else is read; otherwise the names are read anew.
"""

from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from deltareg.db.access import namespaces as queries
from deltareg.service.aliases import NO_ALIASES, Aliases, read_aliases


@dataclass(frozen=True, slots=True)
class Visibility:
    """The namespaces that are private or public, rather than internal.

    Attributes:
        epoch: The number that it was read at.
        private: The names of those that only their members see.
        public: The names of those that can be read without a token, where the server allows it.
        aliases: Where former names lead.
    """

    epoch: int | None
    private: frozenset[str]
    public: frozenset[str]
    aliases: Aliases = NO_ALIASES


_UNKNOWN: Final = Visibility(None, frozenset(), frozenset())


@dataclass(slots=True)
class Visibilities:
    """A cache of the last visibility that was read; threads may share it."""

    _kept: Visibility = field(default=_UNKNOWN)

    def at(self, conn: sa.Connection, epoch: int | None) -> Visibility:
        """Return the visibility at a number, or a newer one."""
        cached = self._kept
        if epoch is not None and cached.epoch == epoch:
            return cached
        number, rows = queries.uncommon(conn)
        names = {
            level: frozenset(name for name, visibility in rows if visibility == level)
            for level in ("private", "public")
        }
        # Read after the number: they are as new as it says, or newer.
        self._kept = Visibility(number, names["private"], names["public"], read_aliases(conn))
        return self._kept
