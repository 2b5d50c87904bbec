"""Which base is meant, where several have the same tensors.

The identity of a base is computed from its manifest and stored with its row. A base that an older
release stored meanwhile has none yet; then it is computed here.
"""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.bases import base_identities as queries
from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.errors import DeltaregError, Problem, Refused
from deltareg.identity.manifest import Manifest
from deltareg.identity.whole_base import WholeBase, part_differences, tell_differences, whole_base
from deltareg.service.authority.resources import Base
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.registry import Caller

_SHOWN = 8
_MISMATCH = "base_mismatch"


def manifest_of_base(conn: sa.Connection, row: BaseRow) -> Manifest:
    """Return the manifest of a base."""
    return decode_manifest(row.manifest_digest, lambda: base_queries.base_content(conn, row.id).manifest)


def whole_of(conn: sa.Connection, row: BaseRow) -> WholeBase | None:
    """Return the parts of a base; None where its manifest does not list them."""
    try:
        return whole_base(manifest_of_base(conn, row))
    except DeltaregError:  # as damaged as it is: `fsck` names it
        return None


def identity_of(conn: sa.Connection, row: BaseRow) -> str:
    """Return the identity of a base, stored or not; empty where its manifest does not tell it."""
    if row.identity is not None:
        return row.identity
    whole = whole_of(conn, row)
    return "" if whole is None else str(whole.identity)


def with_identity(conn: sa.Connection, row: BaseRow) -> BaseRow:
    """Store the identity of a base that has none yet, in a transaction that writes; return its row."""
    whole = whole_of(conn, row) if row.identity is None else None
    if whole is None:
        return row
    parts = {name: str(digest) for name, digest in whole.parts.items()}
    queries.add_identity(conn, row.id, identity=str(whole.identity), parts=parts)
    return replace(row, identity=str(whole.identity), parts=parts, is_partial=False)


def base_meant(conn: sa.Connection, caller: Caller, root: str, *, name: str, identity: str) -> BaseRow:
    """Find the one base that a push is for.

    Args:
        conn: A transaction.
        caller: Who pushes.
        root: The root of the base's tensors, from the manifest of the push.
        name: The name of the base; empty where the request names none.
        identity: The identity of the base; empty where the request names none, as clients of the
            release before do.

    Raises:
        Refused: The caller may know of no such base, the base of that name is another one, or
            several have these tensors and nothing says which is meant.
    """
    if name:
        return _find_named(conn, caller, root, name=name, identity=identity)
    rows = base_queries.base_rows(conn, root=root, limit=_SHOWN * 4)
    visible = [row for row in rows if _may_stand_on(caller, row)]
    matches = [row for row in visible if row.scheme is None] or visible
    fitting = [row for row in matches if identity in {"", identity_of(conn, row)}]
    if not matches:
        raise _unknown(root)
    if len(fitting) == 1:
        return fitting[0]
    raise Refused(tell_choice(conn, fitting or matches))


def tell_choice(conn: sa.Connection, found: Sequence[BaseRow]) -> list[Problem]:
    """Describe the bases that have the same tensors, and how each differs from the first."""
    names = ", ".join(row.name for row in found[:_SHOWN])
    fix = f"name the one that is meant: --base {found[0].name}"
    several = f"{len(found)} bases have these tensors: {names}"
    first = manifest_of_base(conn, found[0])
    problems = [Problem(_MISMATCH, several, fix=fix)]
    for row in found[1:_SHOWN]:
        manifest = manifest_of_base(conn, row)
        differences = tell_differences(part_differences(first, manifest, same_tensors=True))
        problems.append(Problem(_MISMATCH, f"{found[0].name} and {row.name}: {differences}", fix=fix))
    return problems


def _find_named(conn: sa.Connection, caller: Caller, root: str, *, name: str, identity: str) -> BaseRow:
    row = next(iter(base_queries.base_rows(conn, name=name, limit=1)), None)
    if row is None or not _may_stand_on(caller, row):
        raise _unknown(root, name)
    if row.root != root:
        message = f"the base {row.name} has other tensors: its root is {row.root}, not {root}"
        raise Refused([Problem(_MISMATCH, message, fix="name the base that this was made for")])
    if identity not in {"", identity_of(conn, row)}:
        message = f"the base {row.name} is not the one that this was made for: the same tensors, and"
        raise Refused(
            [
                Problem(
                    _MISMATCH,
                    f"{message} its identity is {row.identity}, not {identity}",
                    fix=f"push again; see it: deltareg base show {row.name}",
                )
            ]
        )
    return row


def _unknown(root: str, name: str = "") -> Refused:
    by_name = f" and is called {name[:140]}" if name else ""
    return Refused(
        [
            Problem(
                _MISMATCH,
                f"no base here has the root {root}{by_name}",
                fix="store the base first: deltareg base push PATH NAME",
            )
        ]
    )


def _may_stand_on(caller: Caller, base: BaseRow) -> bool:
    """Whether a caller may know of a base; everybody may know of a shared one."""
    resource = Base(base.name)
    return resource.namespace is None or caller.sees(resource)
