"""The fleet: agents that keep serving hosts in step with channels, and their reports.

The reports of agents are believed and shown, but decide nothing: neither a gate nor a collection
reads them. An agent's name belongs to the principal that used it first.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.channels import fleet as queries
from deltareg.db.channels.fleet_rows import FollowerRow, FollowerStateRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Forbidden, InvalidInput, NotFound
from deltareg.refs import Ref, parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, SOMEWHERE, Channel
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line, find_version
from deltareg.wire import AgentReport, BaseState, Drift, FollowerInfo, Observed, Page

_MISSED_REPORTS = 3
_DIGEST = re.compile("(sha256:[0-9a-f]{4,64})…?")


def report_agent(registry: Registry, caller: Caller, name: str, report: AgentReport) -> None:
    """Record every channel that an agent follows, and how it is doing with each.

    Raises:
        Forbidden: The token does not allow it, or the name belongs to another principal.
        NotFound: A channel that the agent follows does not exist.
    """
    caller.require(Right.SERVE, on=SOMEWHERE)
    parse_name(name, "name for an agent")
    followed = [(caller.current_ref(parse_followed(observed.channel)), observed) for observed in report.serves]

    for ref, _ in followed:
        caller.require(Right.SERVE, on=Channel(ref.line, ref.channel or ""))

    def transaction(conn: sa.Connection) -> None:
        channels = _by_channel(conn, caller, followed)
        agent_id = queries.see_agent(
            conn,
            name,
            principal_id=caller.principal_id,
            engine=report.engine,
            every_us=round(report.every_s * US_PER_S),
        )
        if agent_id is None:
            raise Forbidden(
                f"an agent of another principal is called {name!r}",
                fix="give each agent a name of its own: --name NAME",
            )
        queries.keep_followers(conn, agent_id, list(channels))
        queries.put_followers(conn, agent_id, channels)

    with_retry(registry.engine, transaction)


def list_followers(
    registry: Registry, caller: Caller, of: str | None, *, cursor: str | None, limit: int
) -> Page[FollowerInfo]:
    """List followers: of a line `ns/name`, of a channel `ns/name@prod`, or all.

    For a version, `ns/name:v3`, list those that serve it; for a digest alone, or its beginning,
    those that serve it in any line. Followers of lines that the caller may not read are left out.
    """
    caller.require(Right.READ, on=SHARED)
    after = read_number_cursor(cursor)
    digest = None if of is None else _find_digest(of)
    ref = None if of is None or digest is not None else Ref.parse(of)
    if ref is not None:
        ref = caller.current_ref(ref)
        caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        line = None if ref is None else find_line(conn, caller, ref.line)
        channel = None
        if ref is not None and _names_channel(ref):
            channel = _channel_id(conn, caller, ref)
        elif ref is not None and not ref.is_bare:
            digest = find_version(conn, caller, ref, bare="newest").manifest_digest
        rows = queries.follower_rows(
            conn,
            delta_id=None if line is None else line.id,
            channel_id=channel,
            digest=digest,
            sight=caller.sight,
            after=after,
            limit=check_limit(limit) + 1,
        )
    return page(rows, limit, show=show_follower, key=lambda row: row.id)


def _find_digest(text: str) -> str | None:
    """Return the digest that a text is, or begins; None for anything else."""
    match = _DIGEST.fullmatch(text)
    return match[1] if match else None


def _names_channel(ref: Ref) -> bool:
    """Whether a reference is a channel, as it is now."""
    return ref.channel is not None and ref == Ref(ref.line, ref.host, channel=ref.channel)


def followers_of(conn: sa.Connection, caller: Caller, channel_id: int, *, limit: int) -> list[FollowerInfo]:
    """List those who follow a channel that the caller may read, in the order in which they came."""
    rows = queries.follower_rows(
        conn, delta_id=None, channel_id=channel_id, sight=caller.sight, after=None, limit=limit
    )
    return [show_follower(row) for row in rows]


def count_followers(registry: Registry) -> Mapping[tuple[Drift, BaseState], int]:
    """Count followers by drift and by the state of their engines' bases, for the metrics."""
    with read(registry.engine) as conn:
        rows = queries.states_of_followers(conn)
    return Counter((drift_of(row), row.base) for row in rows)


def forget_agent(registry: Registry, caller: Caller, name: str) -> None:
    """Remove an agent from the lists; one that still runs comes back with its next report.

    Raises:
        NotFound: There is no agent of that name.
        Forbidden: The agent belongs to another principal, and the caller is no admin.
    """
    caller.require(Right.SERVE, on=SOMEWHERE)

    def transaction(conn: sa.Connection) -> None:
        row = queries.agent_row(conn, name)
        if row is None:
            raise NotFound(f"there is no agent {name[:64]!r}", fix="deltareg fleet ls")
        if row.principal_id != caller.principal_id:
            caller.require(Right.ADMIN, on=EVERYTHING)
        queries.delete_agent(conn, row.id)
        caller.record(conn, Action.AGENT_FORGET, f"agent/{name}", on=EVERYTHING, before={"agent": name}, after=None)

    with_retry(registry.engine, transaction)


def parse_followed(text: str) -> Ref:
    """Parse `ns/name@channel`.

    Raises:
        InvalidInput: The text is another kind of reference.
    """
    ref = Ref.parse(text)
    if ref.channel is None or ref.host or str(ref) != f"{ref.line}@{ref.channel}":
        raise InvalidInput(f"{text[:120]!r} names no channel", fix="write ns/name@prod")
    return ref


def _by_channel(
    conn: sa.Connection, caller: Caller, followed: Sequence[tuple[Ref, Observed]]
) -> dict[int, dict[str, object]]:
    """Return what an agent reported of each channel, by channel id; all are looked up at once."""
    channel_ids = queries.channel_ids(conn, {_name(ref) for ref, _ in followed})
    # What was not found is looked for by itself, for the words of the refusal.
    return {
        channel_ids.get(_name(ref)) or _channel_id(conn, caller, ref): _columns(observed) for ref, observed in followed
    }


def _name(ref: Ref) -> tuple[str, str, str]:
    return ref.line.namespace, ref.line.name, ref.channel or ""


def _channel_id(conn: sa.Connection, caller: Caller, ref: Ref) -> int:
    channel = find_channel(conn, caller, ref.line, ref.channel or "")
    return int(channel.id)


def _columns(observed: Observed) -> dict[str, object]:
    return {
        "revision": observed.revision,
        "version": observed.version,
        "digest": observed.digest,
        "state": observed.state,
        "error": observed.error,
        "base": observed.base,
        "trouble": observed.trouble,
    }


def show_follower(row: FollowerRow) -> FollowerInfo:
    """Describe what an agent serves of a channel beside what the channel says."""
    return FollowerInfo(
        agent=row.agent,
        owner=row.owner,
        engine=row.engine,
        channel=f"{row.namespace}/{row.line}@{row.channel}",
        desired_revision=row.desired_revision,
        desired_version=row.desired_version,
        desired_digest=row.desired_digest,
        revision=row.revision,
        version=row.version,
        digest=row.digest,
        state=row.state,
        error=row.error,
        drift=drift_of(row),
        base=row.base,
        trouble=row.trouble,
        since=rfc3339(row.since),
        seen_at=rfc3339(row.seen_at),
        seen_age_s=max(0, row.age_us) / US_PER_S,
        every_s=row.every_us / US_PER_S,
        is_revoked=row.is_revoked,
    )


def drift_of(row: FollowerRow | FollowerStateRow) -> Drift:
    """Return how a follower differs from its channel."""
    if row.age_us > _MISSED_REPORTS * row.every_us:
        return "silent"
    if row.state == "failed":
        return "failed"
    return "none" if row.digest == row.desired_digest and not row.is_revoked else "behind"
