"""What promotions and rollbacks share: locking a version, and serving it from now on."""

import sqlalchemy as sa

from deltareg.db.channels import channels as queries
from deltareg.db.channels.rows import ChannelRow, RevisionRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.storage import packs as pack_queries
from deltareg.errors import Blocked, Corrupt
from deltareg.gate.judge import Candidate
from deltareg.refs import LineRef
from deltareg.service.channels.approvals import MOVED_ON, end_others, note_promoted
from deltareg.service.channels.gate import GateCase
from deltareg.service.channels.labelling import label_promoted
from deltareg.service.channels.terms import write_terms
from deltareg.service.ledger.append import append
from deltareg.service.ledger.freeze import freeze_again, standing_freeze
from deltareg.service.lines.revoked import parts_of
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.reencode import queue_for_cold_pulls
from deltareg.wire import ChannelMove, MoveResult


def hold_version(conn: sa.Connection, version: VersionRow) -> VersionRow:
    """Lock a version and its ancestors until the transaction ends, and read it again.

    None of them can be revoked or deleted until then. Somebody may have revoked it since it was
    read.
    """
    pack_queries.lock_versions(conn, [version.id, *(row.id for row in parts_of(conn, version))])
    return version_queries.version_by_id(conn, version.id)


def check_standing(candidate: Candidate, *, fix: str) -> None:
    """Refuse a version that no channel takes, even with break-glass.

    Raises:
        Blocked: The version is deleted or revoked, or made of one that is.
        Corrupt: The bytes of the version, or of what it stands on, are corrupt.
    """
    ref = candidate.ref
    if candidate.proof == "corrupt":
        message = f"{ref} is corrupt: what is stored is not what it says"
        raise Corrupt(message, fix=f"{fix}, or push the same folder again")
    if candidate.is_deleted:
        raise Blocked(f"{ref} is deleted", fix=fix)
    if candidate.revoked:
        raise Blocked(f"{ref} was {candidate.revoked}", fix=fix)
    if candidate.revoked_below:
        raise Blocked(f"{ref} {candidate.revoked_below}", fix=fix)
    if candidate.corrupt_below:
        raise Corrupt(f"{ref} {candidate.corrupt_below}", fix=f"{candidate.corrupt_fix}; or {fix}")


def serve(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    current: RevisionRow | None,
    version: VersionRow,
    move: ChannelMove,
    case: GateCase,
) -> tuple[MoveResult, int]:
    """Append the move that makes a channel serve a version; return it and the id of its row.

    The move names the verdicts of the judged case.

    Afterwards the open requests of the channel are answered or stale, and a freeze that the move
    broke through applies again. Where a cold machine would fetch too much, a run stores the version
    anew.
    """
    is_promoted = move.kind == "promote"
    write_terms(conn, channel, case)
    end_others(conn, caller, channel, but=version.id if is_promoted else None, why=MOVED_ON)
    request = note_promoted(conn, caller, channel, version) if is_promoted else None
    freeze = standing_freeze(current, at_us=case.now.now_us)
    accepted = case.warnings() if is_promoted and not move.break_glass else []
    unmet = case.unmet() if is_promoted and move.break_glass else []
    result, revision_id = append(
        conn,
        caller,
        line,
        channel,
        current,
        move,
        serves=version,
        request=request,
        verdict_ids=case.passes(),
        accepted=accepted,
        bases=(case.served_base, case.candidate.base_fact.name),
        passed_over=[f"{ruling.rule}: {ruling.message}" for ruling in unmet],
        evidence=[ruling.message for ruling in case.evidence()] if is_promoted else [],
    )
    queue_for_cold_pulls(conn, version, created_by=caller.principal_id)
    if is_promoted:
        label_promoted(conn, caller, channel, version, now_us=case.now.now_us)
    if freeze is not None:
        now = queries.channel_by_id(conn, channel.id)
        freeze_again(conn, caller, line, now, freeze)
    return result, revision_id
