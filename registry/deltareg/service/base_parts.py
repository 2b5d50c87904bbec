"""Which base is which, where several have the same tensors.

What a base is as a whole is worked out from its manifest and noted beside its row. A base that an
older release stored meanwhile has no such note yet; then it is worked out here.
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
from deltareg.service.kept import decode_manifest
from deltareg.service.registry import Caller

_SHOWN = 8
_MISMATCH = "base_mismatch"


def manifest_of_base(conn: sa.Connection, row: BaseRow) -> Manifest:
    """Give the manifest of a base."""
    return decode_manifest(row.manifest_digest, lambda: base_queries.base_content(conn, row.id).manifest)


def whole_of(conn: sa.Connection, row: BaseRow) -> WholeBase | None:
    """Give the parts of a base; None where its manifest does not tell them."""
    try:
        return whole_base(manifest_of_base(conn, row))
    except DeltaregError:  # as damaged as it is: `fsck` names it
        return None


def identity_of(conn: sa.Connection, row: BaseRow) -> str:
    """Give the identity of a base, noted or not; empty where its manifest does not tell it."""
    if row.identity is not None:
        return row.identity
    found = whole_of(conn, row)
    return "" if found is None else str(found.identity)


def with_identity(conn: sa.Connection, row: BaseRow) -> BaseRow:
    """Note the identity of a base where nobody has, in a transaction that writes."""
    found = whole_of(conn, row) if row.identity is None else None
    if found is None:
        return row
    parts = {name: str(digest) for name, digest in found.parts.items()}
    queries.add_identity(conn, row.id, identity=str(found.identity), parts=parts)
    return replace(row, identity=str(found.identity), parts=parts, is_partial=False)


def base_meant(conn: sa.Connection, caller: Caller, root: str, *, name: str, identity: str) -> BaseRow:
    """Find the one base that a push is for.

    Args:
        conn: A transaction.
        caller: Who pushes.
        root: Of the base's tensors, as the manifest of what is pushed says.
        name: What the base is called; empty where nobody says.
        identity: The base's; empty where nobody says, as clients of the release before.

    Raises:
        Refused: There is none that the caller may know of, the one of that name is another, or
            several have these tensors and nothing says which is meant.
    """
    if name:
        return _find_named(conn, caller, root, name=name, identity=identity)
    rows = base_queries.base_rows(conn, root=root, limit=_SHOWN * 4)
    seen = [row for row in rows if _may_stand_on(caller, row)]
    found = [row for row in seen if row.scheme is None] or seen
    fitting = [row for row in found if identity in {"", identity_of(conn, row)}]
    if not found:
        raise _unknown(root)
    if len(fitting) == 1:
        return fitting[0]
    raise Refused(tell_choice(conn, fitting or found))


def tell_choice(conn: sa.Connection, found: Sequence[BaseRow]) -> list[Problem]:
    """Say which bases have the same tensors, and in what each differs from the first."""
    names = ", ".join(row.name for row in found[:_SHOWN])
    fix = f"name the one that is meant: --base {found[0].name}"
    several = f"{len(found)} bases have these tensors: {names}"
    first = manifest_of_base(conn, found[0])
    problems = [Problem(_MISMATCH, several, fix=fix)]
    for row in found[1:_SHOWN]:
        manifest = manifest_of_base(conn, row)
        told = tell_differences(part_differences(first, manifest, same_tensors=True))
        problems.append(Problem(_MISMATCH, f"{found[0].name} and {row.name}: {told}", fix=fix))
    return problems


def _find_named(conn: sa.Connection, caller: Caller, root: str, *, name: str, identity: str) -> BaseRow:
    row = next(iter(base_queries.base_rows(conn, name=name, limit=1)), None)
    if row is None or not _may_stand_on(caller, row):
        raise _unknown(root, name)
    if row.root != root:
        told = f"the base {row.name} has other tensors: its root is {row.root}, not {root}"
        raise Refused([Problem(_MISMATCH, told, fix="name the base that this was made for")])
    if identity not in {"", identity_of(conn, row)}:
        told = f"the base {row.name} is not the one that this was made for: the same tensors, and"
        raise Refused(
            [
                Problem(
                    _MISMATCH,
                    f"{told} its identity is {row.identity}, not {identity}",
                    fix=f"push again; see it: deltareg base show {row.name}",
                )
            ]
        )
    return row


def _unknown(root: str, name: str = "") -> Refused:
    called = f" and is called {name[:140]}" if name else ""
    return Refused(
        [
            Problem(
                _MISMATCH,
                f"no base here has the root {root}{called}",
                fix="store the base first: deltareg base push PATH NAME",
            )
        ]
    )


def _may_stand_on(caller: Caller, base: BaseRow) -> bool:
    """Whether a caller may know of a base: all may of a shared one."""
    resource = Base(base.name)
    return resource.namespace is None or caller.sees(resource)
