"""Revoking a version: no channel accepts it from then on, and whoever pulls it is warned.

The row of the version decides. A promotion locks that row while it checks and until it commits, and
so does a revocation: of the two, the later sees what the earlier did.
"""

import sqlalchemy as sa

from deltareg.db.channels.channels import serving_channels
from deltareg.db.lines import revocations as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import try_transaction, with_retry
from deltareg.errors import Blocked, Conflict
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_version, line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.lines.revoked import made_of
from deltareg.service.lines.unfit import tell_unfit
from deltareg.service.lines.veil import veil_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.wire import Revoke, Unrevoke, VersionInfo


def revoke_version(registry: Registry, caller: Caller, ref: Ref, request: Revoke) -> VersionInfo:
    """Revoke a version; one that is revoked already keeps its reason.

    With `dry_run`, only find out what would happen.

    Raises:
        Conflict: A channel serves it, and the request does not allow that.
        Blocked: The version is deleted.
    """
    caller.require(Right.PROMOTE, on=ref.line)

    def transaction(conn: sa.Connection) -> VersionInfo:
        row = _lock(conn, caller, ref)
        if row.revoked_at is None:
            if not request.even_if_served:
                _refuse_if_served(conn, row)
            queries.revoke(conn, row.id, actor_id=caller.principal_id, reason=request.reason)
            _record(conn, caller, row, Action.VERSION_REVOKE, request.reason)
            _tell_channels(conn, caller, row, request.reason)
        return veil_base(caller, describe_version(conn, version_queries.version_by_id(conn, row.id)))

    return (try_transaction if request.dry_run else with_retry)(registry.engine, transaction)


def unrevoke_version(registry: Registry, caller: Caller, ref: Ref, request: Unrevoke) -> VersionInfo:
    """End the revocation of a version; one that is not revoked is left as it is.

    Raises:
        Blocked: The version is deleted.
    """
    caller.require(Right.PROMOTE, on=ref.line)

    def transaction(conn: sa.Connection) -> VersionInfo:
        row = _lock(conn, caller, ref)
        if row.revoked_at is not None:
            queries.unrevoke(conn, row.id, ended_by=caller.principal_id, reason=request.reason)
            _record(conn, caller, row, Action.VERSION_UNREVOKE, request.reason)
        return veil_base(caller, describe_version(conn, version_queries.version_by_id(conn, row.id)))

    return with_retry(registry.engine, transaction)


def _tell_channels(conn: sa.Connection, caller: Caller, row: VersionRow, reason: str) -> None:
    """Record that the channels that serve a revoked version, or one made of it, are unfit."""
    because = f"{ref_of(row)} was revoked: {reason}"
    tell_unfit(conn, caller, row, because=because)
    for above in made_of(conn, row.id):
        is_foreign = above.namespace != row.namespace  # whose name is not theirs to read
        reason_shown = "a version of another namespace that is in it was revoked" if is_foreign else because
        tell_unfit(conn, caller, above, because=reason_shown)


def _lock(conn: sa.Connection, caller: Caller, ref: Ref) -> VersionRow:
    """Find a version and read it again under its lock."""
    version_id = find_version(conn, caller, ref, bare="newest").id
    version_queries.lock_version(conn, version_id)
    row = version_queries.version_by_id(conn, version_id)
    if row.deleted_at is not None:
        raise Blocked(f"{ref_of(row)} is deleted", fix="name another version")
    return row


def _refuse_if_served(conn: sa.Connection, row: VersionRow) -> None:
    serving = serving_channels(conn, row.id)
    if serving:
        line = f"{row.namespace}/{row.line}"
        raise Conflict(
            f"{ref_of(row)} is what {', '.join(serving)} serves",
            fix=f"deltareg rollback {line} --channel {serving[0]}; or revoke it with "
            "--even-if-served, and whoever pulls it is warned",
        )


def _record(conn: sa.Connection, caller: Caller, row: VersionRow, action: Action, reason: str) -> None:
    is_revoked = action is Action.VERSION_REVOKE
    before = {"revoked": not is_revoked}
    after = {"revoked": is_revoked, "reason": reason, "digest": row.manifest_digest}
    caller.record(conn, action, ref_of(row), on=line_of(row), before=before, after=after)
