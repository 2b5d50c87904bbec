"""Refusing to return corrupt bytes, with the command that heals them in the error.

The error depends on the reader: it names nothing that they may not see. Those who may push there
are told to push, everybody else whom to ask.
"""

import sqlalchemy as sa

from deltareg.db.access.principals import principal_name
from deltareg.db.bases import bases as base_queries
from deltareg.db.bases import stacks
from deltareg.db.lines import versions as version_queries
from deltareg.db.storage import proofs
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep.damage import bad_packs
from deltareg.errors import Corrupt, DeltaregError
from deltareg.identity.manifest import Manifest
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.describe import line_of, ref_of
from deltareg.service.registry import Caller

UNSEEN = "(of another namespace)"


def refuse_corrupt(conn: sa.Connection, caller: Caller, held: PackHolder, name: str) -> None:
    """Refuse to return the bytes of a version or a base that is corrupt.

    Args:
        conn: A transaction.
        caller: Who asks; it may read the version or base.
        held: The version, or the base.
        name: What the caller calls it.

    Raises:
        Corrupt: It is corrupt; the message says who sent the bytes, and what heals them.
    """
    row = proofs.standing(conn, held)
    if row.corrupt_at is None:
        return
    again = push_again(conn, held, for_=caller)
    sender = "somebody" if caller.is_anonymous else principal_name(conn, row.sender_id)
    if bad_packs(conn, held):
        message = f"{name} is damaged: the store has lost or changed some of its bytes"
    else:
        message = f"{name} is corrupt: the bytes that {sender} sent are not what it says"
    if caller.may(Right.PUSH, on=Base(name) if held.is_base else Ref.parse(name).line):
        raise Corrupt(message, fix=f"push the same folder again: {again}")
    raise Corrupt(message, fix=f"ask {sender}, who pushed it, to push the same folder again: {again}")


def push_again(conn: sa.Connection, held: PackHolder, *, for_: Caller | None = None, within: str | None = None) -> str:
    """Return the command that pushes the bytes of a version or a base again, from its folder.

    Names that the reader `for_` may not see are masked; None means a reader who sees everything.
    With `within`, the command is for all readers of that namespace and names nothing of another
    one.
    """

    def mask_unseen(told: str, on: Base | LineRef) -> str:
        is_within = within is None or on.namespace in {within, None}
        return told if is_within and (for_ is None or for_.sees(on)) else UNSEEN

    if held.is_base:
        base = base_queries.base_rows(conn, base_id=held.row_id, limit=1, also_deleted=True)[0]
        if base.version_id is None:
            return f"deltareg base push PATH {base.name}"
        # No folder holds what folding a version gives: a push onto it folds it, and brings that.
        above = stacks.stacked_on(conn, base.version_id)
        lines = [line_of(row) for row in above if mask_unseen("x", line_of(row)) != UNSEEN]
        line = str(lines[0]) if lines else "NS/NAME"
        return f"deltareg push PATH {line} --base {base.name}"
    version = version_queries.version_by_id(conn, held.row_id)
    below = version.base_name or "NAME"
    command = f"deltareg push PATH {line_of(version)} --base {mask_unseen(below, Base(below))}"
    parents = version_queries.parents_of(conn, held.row_id)
    command += "".join(f" --parent {mask_unseen(ref_of(one), line_of(one))}" for one in parents)
    convention = _convention(conn, held.row_id)
    return command + (f" --convention {convention}" if convention else "")


def _convention(conn: sa.Connection, version_id: int) -> str:
    """Return the convention of a version's values; empty for none, or for an unreadable manifest."""
    try:
        manifest = Manifest.decode(version_queries.content(conn, version_id).manifest)
    except DeltaregError:
        return ""
    return str(manifest.config.get("convention", ""))
