"""The base that a push of a delta is bound to: found when it is opened, kept until it is complete.

Of several bases with the same tensors one is meant. The version that comes of the push is bound to
that one's row, by which everybody goes from then on.
"""

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.storage import uploads as queries
from deltareg.db.storage.rows import UploadRow
from deltareg.errors import Conflict, Problem, Refused
from deltareg.identity.manifest import Manifest
from deltareg.service.base_parts import base_meant, tell_choice, with_identity
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
        Refused: There is none, several could be meant, or nothing stands on it.
        Blocked: It is a version that is revoked.
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
    """Find the open upload of the same content; one that is bound to another base is given up."""
    row = queries.open_upload_for(conn, principal_id=caller.principal_id, target=request.target, manifest_digest=digest)
    if row is None or base is None or row.request.get(BASE_ID, base.id) == base.id:
        return row
    queries.close_upload(conn, row.id, state="aborted")
    return None


def bound_to(base: BaseRow | None) -> dict[str, object]:
    """Give what an upload keeps of the base that it is for."""
    return {} if base is None else {BASE_ID: base.id}


def base_of_upload(conn: sa.Connection, caller: Caller, upload: UploadRow, manifest: Manifest) -> BaseRow:
    """Give the base that an open push of a delta is bound to.

    Raises:
        Conflict: It was deleted meanwhile.
    """
    base_id = upload.request.get(BASE_ID)
    if not isinstance(base_id, int):  # opened by the release before
        name = str(upload.request.get("base", ""))
        return base_meant(conn, caller, str(manifest.base), name=name, identity="")
    found = next(iter(base_queries.base_rows(conn, base_id=base_id, limit=1)), None)
    if found is None:
        raise Conflict("the base was deleted meanwhile", fix="name another base")
    return found


def check_same_base(conn: sa.Connection, version: VersionRow, base: BaseRow) -> None:
    """Refuse to answer a push with a version of the same bytes that is bound to another base.

    Raises:
        Refused: It is.
    """
    if version.base_id in {None, base.id}:
        return
    line = f"{version.namespace}/{version.line}"
    told = f"{line}:v{version.number} holds these bytes for the base {version.base_name}"
    fix = f"push it to another line, or for its base: --base {version.base_name}"
    other = next(iter(base_queries.base_rows(conn, base_id=version.base_id, limit=1)), base)
    problems = [] if other.id == base.id else tell_choice(conn, [base, other])[1:]
    raise Refused([Problem("base_mismatch", f"{told}, not for {base.name}", fix=fix), *problems])
