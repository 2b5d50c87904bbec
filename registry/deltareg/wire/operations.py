"""What operators ask: audit, collection, fsck."""

from deltareg.wire.messages import Answer


class AuditRow(Answer):
    """Who did what, with the state before and after."""

    id: int
    at: str
    actor: str
    token_id: int | None
    action: str
    subject: str
    before: object
    after: object
    request_id: str


class CollectReport(Answer):
    """What collection freed, or would free; `run_logs` are those of runs that ended long ago."""

    dry_run: bool
    uploads_expired: int
    packs: int
    objects: int
    bytes: int
    run_logs: int = 0


class FsckFinding(Answer):
    """One thing that is not as the database says."""

    kind: str
    subject: str
    detail: str


class FsckReport(Answer):
    """The state of the store against the database."""

    packs: int
    bytes: int
    read_data: bool
    findings: list[FsckFinding]
