"""What rules of retention would let go now, read from the database in one snapshot."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import sqlalchemy as sa

from deltareg.db.upkeep import retention as queries
from deltareg.db.upkeep.awaiting import FOR_EVER_US, freed_packs
from deltareg.db.upkeep.retention import RetainedRow, RetentionRuleRow
from deltareg.db.verdicts import suites as suite_queries
from deltareg.documents.json_values import is_list
from deltareg.service.ledger.channel_policy import PIN_WINDOW
from deltareg.service.retention.rule import KeepRule, sort_line

_NAMED: Final = re.compile(rb"([a-z0-9._-]{1,64})/([a-z0-9._-]{1,64}):v(\d{1,9})")


@dataclass(frozen=True, slots=True)
class SortedLine:
    """The versions of a line that are there, newest first, and what keeps each; empty for those that go."""

    namespace: str
    line: str
    versions: Sequence[RetainedRow]
    kept: Mapping[int, str]

    @property
    def going(self) -> list[RetainedRow]:
        """The versions that go, newest first, so that none goes before what was made from it."""
        return [version for version in self.versions if not self.kept[version.id]]


def read_rule(keep: Mapping[str, object]) -> KeepRule:
    """Read what a row says that a rule keeps; an unknown word keeps nothing more."""
    last, days, labels = keep.get("last"), keep.get("days"), keep.get("labels")
    return KeepRule(
        last=last if isinstance(last, int) else None,
        days=float(days) if isinstance(days, int | float) else None,
        promoted=keep.get("promoted") is not False,
        semver=keep.get("semver") is not False,
        labels=tuple(map(str, labels)) if is_list(labels) else (),
    )


def rules_by_kind(*layers: Iterable[RetentionRuleRow]) -> dict[str, KeepRule]:
    """Merge rules by kind; those of a later layer, of the line, come before those of its namespace.

    A rule of a line for all kinds also comes before one of its namespace for a single kind.
    """
    merged: dict[str, KeepRule] = {}
    for layer in layers:
        own = {row.kind: read_rule(row.keep) for row in layer}
        merged = own if "" in own else merged | own
    return merged


def sort_lines(
    conn: sa.Connection,
    rules_of_line: Mapping[int, Mapping[str, KeepRule]],
    *,
    delta_id: int | None = None,
    namespace_id: int | None = None,
) -> list[SortedLine]:
    """Sort the versions of a line, or of the lines of a namespace, by what keeps them.

    Args:
        conn: A transaction.
        rules_of_line: The rules by line; those under 0 are for lines that are not named.
        delta_id: The line.
        namespace_id: The namespace, where no line is given.
    """
    rows = queries.versions_in(conn, window=PIN_WINDOW, delta_id=delta_id, namespace_id=namespace_id)
    children = queries.children_that_stand(conn, [row.id for row in rows]) if rows else {}
    names = _named_in_suites(conn) if rows else frozenset[tuple[str, str, int]]()
    named = {row.id for row in rows if (row.namespace, row.line, row.number) in names}
    found: list[SortedLine] = []
    for line_id, group in groupby(rows, key=lambda row: row.delta_id):
        versions = list(group)
        rules = rules_of_line.get(line_id, rules_of_line.get(0, {}))
        kept = sort_line(versions, rules, named=named, children=children)
        found.append(SortedLine(versions[0].namespace, versions[0].line, versions, kept))
    return found


def bytes_freed(conn: sa.Connection, version_ids: Sequence[int]) -> int:
    """Sum the packs that nothing but these versions needs, beside what a collection would free anyway."""
    with_them = freed_packs(conn, leaving=version_ids, least=version_ids, keep_forms_us=FOR_EVER_US >> 1)
    without = freed_packs(conn, leaving=(), least=(), keep_forms_us=FOR_EVER_US >> 1)
    return with_them.size_bytes - without.size_bytes


def _named_in_suites(conn: sa.Connection) -> frozenset[tuple[str, str, int]]:
    """Return the versions that the newest suites name, wherever they name them."""
    documents = [row.document for row in suite_queries.newest_suites(conn)]
    return frozenset(
        (match[1].decode(), match[2].decode(), int(match[3])) for each in documents for match in _NAMED.finditer(each)
    )
