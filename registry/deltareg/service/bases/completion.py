"""Completing a base of which an older release stored only some parts: adding tokenizer, template.

Recorded parts of a base never change. A base that this release stores is complete: a part that it
lacks then, it never gets.
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
    """Allow a push under an existing base's name only if it completes that very base.

    Raises:
        Refused: It is another base, or that base is complete already.
    """
    if _adds_only(conn, base, manifest) and _may_complete(caller, base):
        if has_bytes or not base.is_stored:
            return
        message = f"{base.name} is stored, and the rest of it needs its bytes, too"
        raise Refused([Problem(_MISMATCH, message, fix=f"deltareg base push PATH {base.name}")])
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
    """Add the missing parts of a base, with the manifest that lists them."""
    whole = whole_base(manifest)
    parts = {name: str(digest) for name, digest in whole.parts.items()}
    queries.complete_base(
        conn, base.id, manifest_digest=str(manifest.digest), manifest=raw, logical_bytes=manifest.logical_bytes
    )
    queries.complete_identity(conn, base.id, identity=str(whole.identity), parts=parts)
    caller.record(
        conn,
        Action.BASE_COMPLETE,
        f"base/{base.name}",
        on=Base(base.name),
        before={"identity": base.identity},
        after={"identity": str(whole.identity)},
    )


def _adds_only(conn: sa.Connection, base: BaseRow, manifest: Manifest) -> bool:
    whole = whole_of(conn, base) if base.is_partial else None
    if whole is None:
        return False
    new = whole_base(manifest).parts
    return whole.parts.items() <= new.items() and len(new) > len(whole.parts)


def _may_complete(caller: Caller, base: BaseRow) -> bool:
    """Whether the caller may complete a base: whoever stored it or administers it."""
    is_own = base.created_by == caller.principal_id
    return is_own or caller.may(Right.ADMIN, on=Base(base.name))
