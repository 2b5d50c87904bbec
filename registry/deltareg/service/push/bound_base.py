"""The base that a push of a delta is bound to: chosen when it is opened, fixed until it completes.

Several bases may have the same tensors, and only one is meant. The new version is bound to the row
of that base, which is used everywhere from then on.
"""

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.storage import uploads as queries
from deltareg.db.storage.rows import UploadRow
from deltareg.errors import Conflict, Problem, Refused
from deltareg.identity.base_claims import BaseClaims
from deltareg.identity.manifest import Manifest
from deltareg.service.base_parts import base_meant, tell_choice, with_identity
from deltareg.service.bases.claimed import find_denial, refuse_denied
from deltareg.service.bases.stacks import find_ground
from deltareg.service.bases.variants import packed_base
from deltareg.service.registry import Caller
from deltareg.service.resolve import find_variant
from deltareg.wire import UploadOpen

BASE_ID = "base_id"
"""In the request of an upload, as it is kept."""


def base_for(conn: sa.Connection, caller: Caller, request: UploadOpen, manifest: Manifest) -> BaseRow:
    """Find the base that a delta is pushed for.

    Raises:
        Refused: There is no such base, several could be meant, or nothing may stand on it.
        Blocked: The base is a version that is revoked.
    """
    base = base_meant(conn, caller, str(manifest.base), name=request.base, identity=request.base_identity)
    if base.version_id is not None:
        find_ground(conn, caller, base.name)  # it may have been revoked since
    if base.scheme is not None:
        raise Refused([packed_base(base)])
    if request.trained_on:
        find_variant(conn, caller, request.trained_on, base_id=base.id)
    return with_identity(conn, base)


def open_one(
    conn: sa.Connection, caller: Caller, request: UploadOpen, digest: str, base: BaseRow | None
) -> UploadRow | None:
    """Find the open upload of the same content; abort one that is bound to another base."""
    row = queries.open_upload_for(conn, principal_id=caller.principal_id, target=request.target, manifest_digest=digest)
    if row is None or base is None or row.request.get(BASE_ID, base.id) == base.id:
        return row
    queries.close_upload(conn, row.id, state="aborted")
    return None


def bound_to(base: BaseRow | None) -> dict[str, object]:
    """Return what an upload stores about its base."""
    return {} if base is None else {BASE_ID: base.id}


def base_of_upload(conn: sa.Connection, caller: Caller, upload: UploadRow, manifest: Manifest) -> BaseRow:
    """Return the base that an open push of a delta is bound to.

    Raises:
        Conflict: The base was deleted meanwhile.
    """
    base_id = upload.request.get(BASE_ID)
    if not isinstance(base_id, int):  # opened by the release before
        name = str(upload.request.get("base", ""))
        return base_meant(conn, caller, str(manifest.base), name=name, identity="")
    base = next(iter(base_queries.base_rows(conn, base_id=base_id, limit=1)), None)
    if base is None:
        raise Conflict("the base was deleted meanwhile", fix="name another base")
    return base


def check_base_claims(
    conn: sa.Connection, caller: Caller, claims: BaseClaims, base: BaseRow, *, insisted: object
) -> str:
    """Refuse a push onto another base than the one that its files name, unless the publisher insists.

    Args:
        conn: A transaction.
        caller: Who pushes.
        claims: What the files say.
        base: The base that the push is bound to.
        insisted: What the publisher insists against, as it saw that; None where it does not insist.

    Returns:
        What the files say, as the version keeps it; empty where they name this base, or none.

    Raises:
        Refused: They name another one.
    """
    denial = find_denial(conn, caller, claims, base)
    if denial is None:
        return insisted if isinstance(insisted, str) else ""
    if not isinstance(insisted, str):
        raise refuse_denied(denial, base, insist=f"--trained-on {base.name}")
    return denial.in_short


def check_same_base(conn: sa.Connection, version: VersionRow, base: BaseRow) -> None:
    """Refuse to answer a push with an existing version of the same bytes on another base.

    Raises:
        Refused: The version is bound to another base.
    """
    if version.base_id in {None, base.id}:
        return
    line = f"{version.namespace}/{version.line}"
    message = f"{line}:v{version.number} holds these bytes for the base {version.base_name}"
    fix = f"push it to another line, or for its base: --base {version.base_name}"
    other = next(iter(base_queries.base_rows(conn, base_id=version.base_id, limit=1)), base)
    problems = [] if other.id == base.id else tell_choice(conn, [base, other])[1:]
    raise Refused([Problem("base_mismatch", f"{message}, not for {base.name}", fix=fix), *problems])
