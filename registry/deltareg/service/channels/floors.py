"""Floors: the policy that the server, or a namespace, asks of every channel.

Admins set the floor of the server, owners that of their namespace. A new floor applies from the
next gate check on; requests opened under other terms become stale.
"""

from collections.abc import Callable

import sqlalchemy as sa

from deltareg.db.channels import floors as queries
from deltareg.db.channels.requests import open_requests_of
from deltareg.db.session import read, try_transaction, with_retry
from deltareg.db.sql.named_locks import lock_name
from deltareg.errors import StaleRevision
from deltareg.gate.floors import THE_SERVER, Floor, parse_floor
from deltareg.refs import parse_name
from deltareg.service.access.members import check_seen
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, Namespace, Resource
from deltareg.service.channels.approvals import end
from deltareg.service.channels.policies import check_names
from deltareg.service.clock import rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.ledger.channel_policy import digest_of_policy
from deltareg.service.registry import Caller, Registry
from deltareg.wire import FloorChange, FloorInfo, FloorSet


def show_floor(registry: Registry, caller: Caller, namespace: str | None) -> FloorInfo:
    """Show the floor of a namespace, or of the server if `namespace` is None.

    Raises:
        NotFound: The caller sees no namespace of that name.
    """
    if namespace is None:
        caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        namespace_id = None if namespace is None else check_seen(conn, caller, namespace)
        row = queries.floor_row(conn, namespace_id)
    floor = parse_floor({} if row is None else row.policy, of=_describe_place(namespace))
    return FloorInfo(
        of=floor.of,
        namespace=namespace,
        policy=floor.fields(),
        digest=str(floor.digest),
        reason="" if row is None else row.reason,
        actor=None if row is None else row.actor,
        at=rfc3339_or_none(None if row is None else row.created_at),
    )


def set_floor(
    registry: Registry, caller: Caller, namespace: str | None, request: FloorSet, *, is_seen: Callable[[str], bool]
) -> FloorChange:
    """Replace the floor of a namespace, or of the server.

    Args:
        registry: The database and the store.
        caller: Who sets it.
        namespace: The namespace; None for the server.
        request: The whole floor, and why it is set.
        is_seen: Whether the caller has seen the floor with this digest.

    Raises:
        Forbidden: The caller owns no namespace of that name, or is no admin.
        InvalidInput: The floor is malformed, or names something that does not exist.
        NotFound: There is no such namespace.
        StaleRevision: The floor has changed meanwhile.
    """
    place: Resource = EVERYTHING
    if namespace is not None:
        place = Namespace(parse_name(namespace, "namespace"))
    caller.require(Right.ADMIN, on=place)
    floor = parse_floor(request.policy, of=_describe_place(namespace))

    def transaction(conn: sa.Connection) -> FloorChange:
        lock_name(conn, "floors")  # of two who have seen the same floor, one replaces it
        namespace_id = None if namespace is None else check_seen(conn, caller, namespace)
        row = queries.floor_row(conn, namespace_id)
        before = parse_floor({} if row is None else row.policy, of=floor.of)
        change = FloorChange(
            of=floor.of,
            namespace=namespace,
            before=before.fields(),
            after=floor.fields(),
            digest=str(floor.digest),
            is_changed=before.digest != floor.digest,
        )
        if not change.is_changed:  # perhaps by this very request, whose answer was lost
            return change
        if not is_seen(str(before.digest)):
            raise StaleRevision(f"what {floor.of} asks was changed meanwhile", fix=f"look again: {floor.command}")
        check_names(conn, caller, floor.policy)
        queries.add_floor(
            conn, namespace_id, policy=change.after, reason=request.reason, created_by=caller.principal_id
        )
        stale = _end_requests(conn, caller, namespace_id, floor)
        caller.record(
            conn,
            Action.FLOOR_SET,
            _subject(namespace),
            on=place,
            before={"policy": change.before},
            after={"policy": change.after, "digest": change.digest, "reason": request.reason},
        )
        return change.model_copy(update={"stale_requests": stale})

    return (try_transaction if request.dry_run else with_retry)(registry.engine, transaction)


def _end_requests(conn: sa.Connection, caller: Caller, namespace_id: int | None, floor: Floor) -> list[int]:
    """End the requests whose channels ask for something else now; return their numbers."""
    request_ids: list[int] = []
    for request in open_requests_of(conn, namespace_id):
        if digest_of_policy(request) != request.policy_digest:
            end(conn, caller, request, state="stale", decision=f"what {floor.of} asks changed")
            request_ids.append(request.id)
    return request_ids


def _describe_place(namespace: str | None) -> str:
    return THE_SERVER if namespace is None else f"namespace {namespace}"


def _subject(namespace: str | None) -> str:
    return "server/policy" if namespace is None else f"namespace/{namespace}/policy"
