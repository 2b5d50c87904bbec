"""Appending to a channel's ledger: the pointer, the entry and the audit row in one transaction."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.channels import channels as queries
from deltareg.db.channels.rows import ChannelRow, RevisionRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.errors import StaleRevision
from deltareg.refs import LineRef
from deltareg.service.describe import base_claim_of
from deltareg.service.events import Action
from deltareg.service.registry import Caller
from deltareg.wire import ChannelMove, MoveResult


def append(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow | None,
    move: ChannelMove,
    *,
    serves: VersionRow | None,
    verdict_ids: list[str],
    request: int | None = None,
    accepted: Sequence[str] = (),
    passed_over: Sequence[str] = (),
    bases: tuple[str, str] = ("", ""),
    evidence: Sequence[str] = (),
) -> tuple[MoveResult, int]:
    """Append a revision after `current`; return the result of the move and the id of its row.

    Args:
        conn: A transaction that holds the channel.
        caller: Who moves it.
        line: The line.
        channel: The channel, at the revision that the caller saw.
        current: Its newest revision; None for a channel that was never moved.
        move: The move, with its reason.
        serves: The version that it serves from now on; None while it serves nothing.
        verdict_ids: The verdicts that the move rests on.
        request: The request that it answers.
        accepted: The warnings of the verdicts that were accepted with it.
        passed_over: The unmet rules of the gate that a move with break-glass passed over.
        bases: The names of the bases before and after the move; the audit row has them where they
            differ.
        evidence: What others say about the version that the move rests on, in words.
    """
    if not queries.advance(conn, channel.id, seen=channel.revision):
        raise StaleRevision(f"{line}@{channel.name} moved meanwhile", fix="look again")
    number = channel.revision + 1
    previous = None if current is None else current.version
    revision_id = queries.add_revision(
        conn,
        channel_id=channel.id,
        number=number,
        kind=move.kind,
        version_id=None if serves is None else serves.id,
        digest=None if serves is None else serves.manifest_digest,
        base_root=None if serves is None else serves.base_root,
        actor_id=caller.principal_id,
        reason=move.reason,
        verdict_ids=verdict_ids,
        previous_version_id=None if current is None else current.version_id,
        break_glass=move.break_glass,
        token_id=caller.token_id,
    )
    version = None if serves is None else serves.number
    before: dict[str, object] = {"revision": channel.revision, "version": previous}
    after: dict[str, object] = {"revision": number, "version": version, "reason": move.reason}
    before |= _tell_change(bases, 0)
    after |= _tell_change(bases, 1)
    if serves is not None:
        after["digest"] = serves.manifest_digest
    if move.until is not None:
        after["until"] = move.until
    if request is not None:
        after["request"] = request
    if move.break_glass:
        after["break_glass"] = True
    rested = {"passed_over": passed_over, "evidence": evidence, "accepted_warnings": accepted}
    after |= {name: list(words) for name, words in rested.items() if words}
    caller.record(conn, Action(f"channel.{move.kind}"), f"{line}@{channel.name}", on=line, before=before, after=after)
    result = MoveResult(
        channel=channel.name,
        revision=number,
        kind=move.kind,
        version=version,
        digest=None if serves is None else serves.manifest_digest,
        previous=previous,
        accepted=list(accepted),
        ref="" if version is None else f"{line}:v{version}",
        base_claim="" if serves is None else base_claim_of(serves),
        previous_base=bases[0],
        base=bases[1],
    )
    return result, revision_id


def _tell_change(bases: tuple[str, str], side: int) -> dict[str, str]:
    """Return the base of one side of a move, for its audit row; nothing where the base stays."""
    before, after = bases
    return {"base": bases[side]} if before and before != after else {}
