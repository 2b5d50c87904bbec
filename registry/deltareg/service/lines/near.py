"""What lies right below a version, read together with the other facts that a gate decides on."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.bases import stacks
from deltareg.db.channels import before_gate
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.sql.together import CombinedResult
from deltareg.db.upkeep import damage


@dataclass(frozen=True, slots=True)
class VersionAncestry:
    """What a version stands on and was made from.

    Attributes:
        stack: The versions that its base is made of, topmost first.
        corrupt: The bases of all these that are corrupt.
        variant: The variant that it was trained on, if that is corrupt.
        parents: Its parents, in order.
    """

    stack: Sequence[VersionRow]
    corrupt: frozenset[int]
    variant: int | None
    parents: Sequence[VersionRow]


def near_of(conn: sa.Connection, found: CombinedResult) -> VersionAncestry:
    """Build the ancestry from rows that were read; follow a stack of several versions further down."""
    stack = found.all(before_gate.BELOW)
    corrupt = {row.id for row in found.all(before_gate.CORRUPT_BASE)}
    if stack and stack[0].base_id is not None:
        stack += stacks.stack_below(conn, stack[0].base_id)
        lower = [row.base_id for row in stack if row.base_id is not None]
        corrupt |= damage.corrupt_bases(conn, lower)
    variant = found.one(before_gate.CORRUPT_VARIANT)
    return VersionAncestry(
        stack, frozenset(corrupt), None if variant is None else variant.id, found.all(before_gate.PARENTS)
    )
