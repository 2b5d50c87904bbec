"""Reviews of moves that broke the glass: by somebody else, due within a day."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access.grants import same_person
from deltareg.db.channels import channels as channel_queries
from deltareg.db.channels import reviews as queries
from deltareg.db.channels.rows import BrokenGlassRow, RevisionRow
from deltareg.db.session import with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Conflict, Forbidden, NotFound
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.wire import GlassBroken

REVIEW_DUE_US = 24 * 3600 * US_PER_S


def review_move(
    registry: Registry, caller: Caller, line: LineRef, name: str, number: int, *, message: str
) -> GlassBroken:
    """Review a move that broke the glass, as somebody other than whoever made it.

    Raises:
        NotFound: There is no such line, channel or revision, or the move broke no glass.
        Forbidden: The caller broke the glass, or is a script.
        Conflict: Somebody else has reviewed it.
    """
    caller.require(Right.APPROVE, on=Channel(line, name))
    caller.require_person("a review")

    def transaction(conn: sa.Connection) -> GlassBroken:
        channel = find_channel(conn, caller, line, name, lock=True)
        move = channel_queries.revision_at(conn, channel.id, number=number)
        _check(conn, line, name, number, move, caller)
        if move is None:
            raise AssertionError("a move that was checked is there")
        if move.reviewed_by is None:
            queries.add_review(conn, move.id, principal_id=caller.principal_id, message=message)
            before, after = {"revision": number, "by": move.actor}, {"message": message}
            subject = f"{line}@{name}"
            caller.record(conn, Action.CHANNEL_REVIEW, subject, on=line, before=before, after=after)
        return describe_broken(move)

    return with_retry(registry.engine, transaction)


def moves_to_review(conn: sa.Connection, channel_ids: Sequence[int]) -> dict[int, list[GlassBroken]]:
    """Return, by channel, the moves that wait for a review, oldest first."""
    moves: dict[int, list[GlassBroken]] = {}
    for row in queries.to_review(conn, channel_ids):
        moves.setdefault(row.channel_id, []).append(describe_broken(row))
    return moves


def describe_broken(move: RevisionRow | BrokenGlassRow) -> GlassBroken:
    """Describe a move that broke the glass, and when its review is due."""
    return GlassBroken(
        revision=move.number,
        kind=move.kind,
        version=move.version,
        actor=move.actor,
        reason=move.reason,
        at=rfc3339(move.created_at),
        due=rfc3339(move.created_at + REVIEW_DUE_US),
    )


def _check(
    conn: sa.Connection, line: LineRef, name: str, number: int, move: RevisionRow | None, caller: Caller
) -> None:
    history = f"deltareg channel history {line} {name}"
    if move is None or not move.break_glass:
        what = "is not there" if move is None else "broke no glass"
        raise NotFound(f"{line}@{name}#{number} {what}", fix=history)
    if same_person(conn, [move.actor_id], acts=caller.principal_id):
        raise Forbidden(
            f"{caller.principal} broke the glass, so somebody else has to review it",
            fix="ask somebody else whose token allows `approve`",
        )
    if move.reviewed_by not in {None, caller.principal}:
        raise Conflict(f"{line}@{name}#{number} was reviewed by {move.reviewed_by}", fix=history)
