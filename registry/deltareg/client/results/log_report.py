"""Results of verifying the log of the audit trail."""

from deltareg.wire import Answer


class LogFinding(Answer):
    """A problem of a log: what is wrong, and with which row, by position and number."""

    what: str
    text: str
    position: int | None = None
    row: int | None = None


class LogReport(Answer):
    """What a log is, what it was checked against, and its problems, the first one first.

    `size` rows are in the log, of which `signed` stand under a checkpoint of a trusted key; the
    first `from_before` of them are older than the log, and are sealed as the database had them
    then. `waiting` rows are not sealed yet, and nothing protects them. `statements` are what the
    server signed about single rows. `against` says where the checkpoints came from that it was
    checked against. Of an export of a part, `rows` says how many rows it has; None for a whole log.
    The first `read_before` rows were read by earlier verifications and not again, all of them at
    `read_at` for the last time.
    """

    origin: str
    size: int
    signed: int
    from_before: int
    waiting: int
    statements: int
    rows: int | None = None
    root: str = ""
    keyid: str = ""
    against: tuple[str, ...] = ()
    read_before: int = 0
    read_at: str = ""
    findings: tuple[LogFinding, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.findings


class RowProof(Answer):
    """A row of the audit trail that is proved to be in the log, and the checkpoint it is under."""

    row: int
    position: int
    action: str
    subject: str
    actor: str
    origin: str
    size: int
    root: str
    keyid: str
    is_signed: bool = False
