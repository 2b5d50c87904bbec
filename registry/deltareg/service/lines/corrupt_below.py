"""What is corrupt below a version: its base, or a version or base further down.

A delta says what to add to its base. If the bytes of the base are wrong, whoever serves the version
serves something else. So no channel takes it, even with break-glass, until the base is whole again.
The same holds for the variant that a version was trained on, because the variant is what serves it.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.storage.shares import PackHolder
from deltareg.service.corrupt import push_again
from deltareg.service.describe import line_of, ref_of
from deltareg.service.lines.near import VersionAncestry

_FOREIGN = "of another namespace"


@dataclass(frozen=True, slots=True)
class CorruptAncestor:
    """Something corrupt below a version, in words.

    Attributes:
        description: A phrase to follow the name of the version: `stands on base/llama, which is
            corrupt: …`.
        fix: The command that heals it, or whom to ask for it.
    """

    description: str
    fix: str


def corrupt_below(conn: sa.Connection, version: VersionRow, near: VersionAncestry) -> CorruptAncestor | None:
    """Describe the nearest corrupt thing that a version stands on; None if there is none.

    Args:
        conn: A transaction.
        version: The version.
        near: What lies right below it, read in this transaction.
    """
    if version.base_id is None:
        return None
    below, corrupt = near.stack, near.corrupt
    for above, part in zip((version, *below), (*below, None), strict=True):
        if part is not None and part.corrupt_at is not None:
            return _told_version(conn, version, part)
        if above.base_id in corrupt:
            return _told_base(conn, version, above, above.base_id)
    variant = near.variant if version.trained_on else None
    return None if variant is None else _told_base(conn, version, version, variant)


def _told_version(conn: sa.Connection, version: VersionRow, part: VersionRow) -> CorruptAncestor:
    if part.namespace != version.namespace:
        return CorruptAncestor(_tell(f"a version {_FOREIGN}"), "ask who pushed it to push it again")
    again = push_again(conn, PackHolder(part.id), within=version.namespace)
    return CorruptAncestor(_tell(ref_of(part)), f"push its folder again: {again}")


def _told_base(conn: sa.Connection, version: VersionRow, above: VersionRow, base_id: int) -> CorruptAncestor:
    base = base_queries.base_rows(conn, base_id=base_id, limit=1, also_deleted=True)[0]
    namespace, slash, _ = base.name.partition("/")
    if slash and namespace != version.namespace:
        return CorruptAncestor(_tell(f"a base {_FOREIGN}"), "ask who pushed it to push it again")
    if base.version_id is None:
        description = f"push its folder again: deltareg base push PATH {base.name}"
        return CorruptAncestor(_tell(f"base {base.name}"), description)
    if above.namespace != version.namespace:
        return CorruptAncestor(_tell(f"{base.name} as a base"), "ask who pushed it to push it again")
    # No folder holds what folding a version gives: a push onto it folds it, and brings that.
    again = f"deltareg push PATH {line_of(above)} --base {base.name}"
    return CorruptAncestor(_tell(f"{base.name} as a base"), f"push what stands on it again, which folds it: {again}")


def _tell(what: str) -> str:
    return f"stands on {what}, which is corrupt: what is stored is not what it says"
