"""The rest of a base of which an older release knew a part alone: its tokenizer, its template.

What is known of a base never changes. A base that this release stores is known whole: a part that
it does not have then, it never has.
"""

import sqlalchemy as sa

from deltareg.db.bases import base_identities as queries
from deltareg.db.bases.rows import BaseRow
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Manifest
from deltareg.identity.whole_base import part_differences, tell_differences, whole_base
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.base_parts import manifest_of_base, whole_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller

_MISMATCH = "base_mismatch"


def check_completion(
    conn: sa.Connection, caller: Caller, base: BaseRow, manifest: Manifest, *, has_bytes: bool
) -> None:
    """Let a push under a base's name go on only where it brings the rest of that very base.

    Raises:
        Refused: It is another base, or that base is known whole.
    """
    if _adds_only(conn, base, manifest) and _may_complete(caller, base):
        if has_bytes or not base.is_stored:
            return
        told = f"{base.name} is stored, and the rest of it needs its bytes, too"
        raise Refused([Problem(_MISMATCH, told, fix=f"deltareg base push PATH {base.name}")])
    differs = tell_differences(part_differences(manifest_of_base(conn, base), manifest))
    raise Refused(
        [
            Problem(
                _MISMATCH,
                f"the base {base.name} is another one (root {base.root}): {differs}",
                fix="a base never changes; choose another name for this one",
            )
        ]
    )


def complete(conn: sa.Connection, caller: Caller, base: BaseRow, manifest: Manifest, raw: bytes) -> None:
    """Give a base its rest, with the manifest that tells it."""
    found = whole_base(manifest)
    parts = {name: str(digest) for name, digest in found.parts.items()}
    queries.complete_base(
        conn, base.id, manifest_digest=str(manifest.digest), manifest=raw, logical_bytes=manifest.logical_bytes
    )
    queries.complete_identity(conn, base.id, identity=str(found.identity), parts=parts)
    caller.record(
        conn,
        Action.BASE_COMPLETE,
        f"base/{base.name}",
        on=Base(base.name),
        before={"identity": base.identity},
        after={"identity": str(found.identity)},
    )


def _adds_only(conn: sa.Connection, base: BaseRow, manifest: Manifest) -> bool:
    known = whole_of(conn, base) if base.is_partial else None
    if known is None:
        return False
    new = whole_base(manifest).parts
    return known.parts.items() <= new.items() and len(new) > len(known.parts)


def _may_complete(caller: Caller, base: BaseRow) -> bool:
    """Who stored a base may say what else it is, and who administers it."""
    is_own = base.created_by == caller.principal_id
    return is_own or caller.may(Right.ADMIN, on=Base(base.name))
