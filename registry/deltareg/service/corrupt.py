"""What is corrupt is given to nobody, with the command that heals it in the refusal.

The refusal depends on who reads it: it names nothing that they may not see, and tells who may push
there to push, everybody else whom to ask.
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
    """Refuse to give the bytes of a version, or a base, that is corrupt.

    Args:
        conn: A transaction.
        caller: Who asks; it may read this.
        held: The version, or the base.
        name: What the caller calls it.

    Raises:
        Corrupt: It is; the message says whose bytes they are, and what heals it.
    """
    row = proofs.standing(conn, held)
    if row.corrupt_at is None:
        return
    again = push_again(conn, held, for_=caller)
    sender = "somebody" if caller.is_anonymous else principal_name(conn, row.sender_id)
    if bad_packs(conn, held):
        told = f"{name} is damaged: the store has lost or changed some of its bytes"
    else:
        told = f"{name} is corrupt: the bytes that {sender} sent are not what it says"
    if caller.may(Right.PUSH, on=Base(name) if held.is_base else Ref.parse(name).line):
        raise Corrupt(told, fix=f"push the same folder again: {again}")
    raise Corrupt(told, fix=f"ask {sender}, who pushed it, to push the same folder again: {again}")


def push_again(conn: sa.Connection, held: PackHolder, *, for_: Caller | None = None, within: str | None = None) -> str:
    """Give the command that brings the bytes of a version or a base again, from its folder.

    What somebody who reads it may not see is left open in it; None for who may see everything. With
    `within`, it is for all who read a namespace, and names nothing of another one.
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
    told = f"deltareg push PATH {line_of(version)} --base {mask_unseen(below, Base(below))}"
    parents = version_queries.parents_of(conn, held.row_id)
    told += "".join(f" --parent {mask_unseen(ref_of(one), line_of(one))}" for one in parents)
    convention = _convention(conn, held.row_id)
    return told + (f" --convention {convention}" if convention else "")


def _convention(conn: sa.Connection, version_id: int) -> str:
    """Give what a push had to say of its values; nothing where the manifest cannot be read."""
    try:
        manifest = Manifest.decode(version_queries.content(conn, version_id).manifest)
    except DeltaregError:
        return ""
    return str(manifest.config.get("convention", ""))
