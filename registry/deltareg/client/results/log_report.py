"""What a verification of the log has shown."""

from deltareg.wire import Answer


class LogFinding(Answer):
    """Something that is wrong with a log: what, and which row, by position and number."""

    what: str
    text: str
    position: int | None = None
    row: int | None = None


class LogReport(Answer):
    """What a log is, what it was held against, and what is wrong with it, the first first.

    `size` rows are in the log, of which `signed` stand under a checkpoint of a trusted key; the
    first `from_before` of them are older than the log, and are sealed as the database had them
    then. `waiting` rows were not sealed yet, which nothing protects. `statements` were signed by
    the server about single rows. `against` says where checkpoints were from that it was held
    against.
    """

    origin: str
    size: int
    signed: int
    from_before: int
    waiting: int
    statements: int
    root: str = ""
    keyid: str = ""
    against: tuple[str, ...] = ()
    findings: tuple[LogFinding, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.findings


class RowProof(Answer):
    """A row of the audit trail that is in the log by proof, and the checkpoint that it is under."""

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
