"""Renaming a channel, with its ledger, its policy and its followers; and deleting one."""

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import aliases as queries
from deltareg.db.session import try_transaction, with_retry
from deltareg.errors import Conflict
from deltareg.refs import LineRef, parse_channel
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.channels.channels import describe_channel
from deltareg.service.channels.fleet import followers_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line
from deltareg.wire import ChannelInfo, NameChange, Rename

_SHOWN = 5


def rename_channel(registry: Registry, caller: Caller, line: LineRef, name: str, request: Rename) -> NameChange:
    """Give a channel another name; the former one leads on to it.

    It needs the right `admin`, as a policy does: who may promote to a channel goes by its name.

    Raises:
        NotFound: The caller sees no such channel.
        Conflict: Another channel of the line has that name, or it leads on to one.
    """
    caller.require(Right.ADMIN, on=line)
    to = parse_channel(request.to)

    def transaction(conn: sa.Connection) -> NameChange:
        queries.take_turn(conn)
        delta = find_line(conn, caller, line, lock=True)
        channel = find_channel(conn, caller, line, name, lock=True)
        before, after = f"{line}@{name}", f"{line}@{to}"
        if name == to:
            return NameChange(name=after)
        alias = queries.alias_of_channel(conn, delta.id, to)
        if alias not in {None, channel.id}:
            leads = channel_queries.channel_by_id(conn, alias or 0).name
            raise Conflict(f"{after} is a former name, and leads on to @{leads}", fix="choose another name")
        queries.drop_channel_alias(conn, delta.id, to)
        by = caller.principal_id
        if not queries.name_channel(conn, channel.id, delta_id=delta.id, before=name, after=to, by=by):
            raise Conflict(f"{line} has a channel {to} already", fix="choose another name")
        _take_grants_along(conn, caller, delta.namespace_id, line, name, to)
        caller.record(conn, Action.CHANNEL_RENAME, after, on=line, before={"name": before}, after={"name": after})
        return NameChange(name=after, before=before)

    return with_retry(registry.engine, transaction)


def delete_channel(
    registry: Registry, caller: Caller, line: LineRef, name: str, *, dry_run: bool = False
) -> ChannelInfo:
    """Delete a channel; its ledger stays, and creating it again brings it back as it was.

    With `dry_run`, only check whether it could be deleted.

    Raises:
        Conflict: An agent follows it.
        NotFound: The caller sees no such channel.
    """
    caller.require(Right.ADMIN, on=line)

    def transaction(conn: sa.Connection) -> ChannelInfo:
        find_line(conn, caller, line, lock=True)
        row = find_channel(conn, caller, line, name, lock=True)
        info = describe_channel(conn, line, row)
        follows = [one.agent for one in followers_of(conn, caller, row.id, limit=_SHOWN) if one.drift != "silent"]
        if follows:
            raise Conflict(
                f"{line}@{name} is followed by {', '.join(follows)}",
                fix="stop them, or let them follow another channel; then: deltareg fleet rm AGENT",
            )
        channel_queries.delete_channel(conn, row.id)
        before, after = {"deleted": False, "version": info.version}, {"deleted": True}
        caller.record(conn, Action.CHANNEL_DELETE, f"{line}@{name}", on=line, before=before, after=after)
        return info

    return (try_transaction if dry_run else with_retry)(registry.engine, transaction)


def _take_grants_along(
    conn: sa.Connection, caller: Caller, namespace: int, line: LineRef, before: str, after: str
) -> None:
    """Let roles that are about this one channel stay about it."""
    for grant in grant_queries.grant_rows(conn, namespace_id=namespace):
        if grant.pattern != f"{line.name}@{before}":
            continue
        pattern = f"{line.name}@{after}"
        grant_queries.end_grant(conn, grant.id, ended_by=caller.principal_id)
        grant_queries.add_grant(
            conn,
            grant.principal_id,
            role=grant.role,
            namespace_id=namespace,
            pattern=pattern,
            created_by=caller.principal_id,
            role_id=grant.role_id,
        )
        subject, on = f"member/{line.namespace}/{grant.principal}", Namespace(line.namespace)
        was, now = {"role": grant.role, "pattern": grant.pattern}, {"role": grant.role, "pattern": pattern}
        caller.record(conn, Action.MEMBER_ADD, subject, on=on, before=was, after=now)
