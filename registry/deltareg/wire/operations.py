"""Requests and answers of operators: audit, collection, fsck."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Request


class AuditRow(Answer):
    """Who did what, with the state before and after, and by which workflow if that got its token by a trust."""

    id: int
    at: str
    actor: str
    token_id: int | None
    action: str
    subject: str
    before: object
    after: object
    request_id: str
    via: str = ""


class CollectReport(Answer):
    """What collection freed, or would free; `run_logs` are those of runs that ended long ago.

    While a backup runs, `is_held`: no object goes before the next collection.
    """

    dry_run: bool
    uploads_expired: int
    packs: int
    objects: int
    bytes: int
    run_logs: int = 0
    is_held: bool = False


class FsckFinding(Answer):
    """One thing that is not as the database says.

    After a repair, `outcome` is `healed` or `push`, and `fix` names the commands in that case.
    """

    kind: str
    subject: str
    detail: str
    outcome: str = ""
    fix: str = ""


class FsckHeal(Answer):
    """A version or a base that has to be pushed again: who sent it, and the command."""

    subject: str
    sent_by: str
    fix: str


class CheckMore(Request):
    """Begin a check of what is stored, or of a share of it; with `check`, go on with that one."""

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    check: Annotated[str, Field(max_length=64)] = ""


class CheckInfo(Answer):
    """How far a check of pieces is, in versions and bases.

    `unknown` could not be read by any worker, or were deleted or stored anew meanwhile. Where
    something is `corrupt`, `to_push` lists all that has to be pushed again. While it is not
    `is_queued`, there is more to queue: it is asked to go on.
    """

    id: str
    is_queued: bool
    total: int
    proven: int
    corrupt: int
    waiting: int
    unknown: int
    to_push: list[FsckHeal] = []


class FsckReport(Answer):
    """The state of the store against the database.

    With `repaired`, what could be healed was, and `to_push` lists all that is corrupt still. A part
    has in `after` where the next one begins, and `to_push` in the last one alone.
    """

    packs: int
    bytes: int
    read_data: bool
    findings: list[FsckFinding]
    repaired: bool = False
    to_push: list[FsckHeal] = []
    after: str | None = None
