"""The names that lines, channels and namespaces had, and where each leads now.

They are cached with the visibility of namespaces, whose number every change of a name raises.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import sqlalchemy as sa

from deltareg.db.lines import aliases as queries
from deltareg.db.lines.rows import AliasOfChannelRow, AliasOfLineRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.refs import LineRef, Ref


@dataclass(frozen=True, slots=True)
class Aliases:
    """Where former names lead; a name that leads nowhere stands for itself.

    Attributes:
        namespaces: From the former name of a namespace to its name.
        lines: From the former name of a line, in the namespace as it is called now, to its name.
        channels: From the line and the former name of a channel to its name.
    """

    namespaces: Mapping[str, str] = field(default_factory=dict[str, str])
    lines: Mapping[LineRef, LineRef] = field(default_factory=dict[LineRef, LineRef])
    channels: Mapping[tuple[LineRef, str], str] = field(default_factory=dict[tuple[LineRef, str], str])

    @classmethod
    def of(
        cls, namespaces: Mapping[str, str], lines: Iterable[AliasOfLineRow], channels: Iterable[AliasOfChannelRow]
    ) -> Self:
        """Read them from their rows."""
        return cls(
            namespaces,
            {LineRef(row.namespace, row.name): LineRef(row.to_namespace, row.to_name) for row in lines},
            {(LineRef(row.namespace, row.line), row.name): row.to_name for row in channels},
        )

    def namespace(self, name: str) -> str:
        """Return the name that a namespace has now."""
        return self.namespaces.get(name, name)

    def within(self, line: LineRef) -> LineRef:
        """Return a line in its namespace as that is called now, by the name that was given."""
        namespace = self.namespace(line.namespace)
        return line if namespace == line.namespace else LineRef(namespace, line.name)

    def line(self, line: LineRef) -> LineRef:
        """Return the name that a line has now."""
        inside = self.within(line)
        return self.lines.get(inside, inside)

    def channel(self, line: LineRef, name: str) -> str:
        """Return the name that a channel of a line, named as it is now, has now."""
        return self.channels.get((line, name), name)

    def names_of(self, line: LineRef) -> list[LineRef]:
        """Return the former names of a line."""
        inside = [line, *(old for old, new in self.lines.items() if new == line)]
        spaces = [(old, new) for old, new in self.namespaces.items()]
        moved = [LineRef(old, one.name) for one in inside for old, new in spaces if new == one.namespace]
        return sorted({*inside[1:], *moved}, key=str)


def read_aliases(conn: sa.Connection) -> Aliases:
    """Read all former names and where they lead."""
    return Aliases.of(queries.namespace_names(conn), queries.line_names(conn), queries.channel_names(conn))


def former_refs(conn: sa.Connection, version: VersionRow) -> list[str]:
    """Return the references that a version had under the former names of its line."""
    line = LineRef(version.namespace, version.line)
    return [f"{name}:v{version.number}" for name in read_aliases(conn).names_of(line)]


NO_ALIASES = Aliases()


def with_line(ref: Ref, line: LineRef, channel: str | None) -> Ref:
    """Return a reference with its line and channel under other names."""
    return ref if (line, channel) == (ref.line, ref.channel) else replace(ref, line=line, channel=channel)
