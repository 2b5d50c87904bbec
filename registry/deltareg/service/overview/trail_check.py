"""A consistency check of the log over the audit trail, for people without a command line.

The server checks its own tables with its own keys. An attacker who could also rewrite the server is
only detected by somebody who kept a checkpoint elsewhere; the page says so.
"""

from datetime import UTC, datetime

from deltareg.service.access.keys import list_keys
from deltareg.service.access.server_keys import SERVER
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.trail.proofs import MOST_ENTRIES, read_log, show_checkpoint
from deltareg.signing.keys import PublicKey
from deltareg.trail.check import LogCheck, LogEvidence
from deltareg.trail.lines import check_lines
from deltareg.wire import Answer, TrailPage
from deltareg.wire.log_lines import log_lines

MOST_ROWS = 20_000
_TOLD = 20


class TrailFinding(Answer):
    """Something that is wrong with the log, and the affected row of the trail, if it is known."""

    what: str
    text: str
    row: int | None


class TrailReport(Answer):
    """The result of a check of the whole log.

    The log has `size` rows, of which `signed` are covered by a checkpoint signed with a key of the
    server; `waiting` rows are not sealed yet. `is_too_long` says that the log was not checked.
    `findings` has the first problems in order, and `found` the number of all of them.
    """

    at: str
    size: int
    signed: int
    waiting: int
    root: str = ""
    keyid: str = ""
    is_too_long: bool = False
    found: int = 0
    findings: tuple[TrailFinding, ...] = ()
    notices: tuple[str, ...] = ()


def check_trail(registry: Registry, caller: Caller, *, most: int = MOST_ROWS) -> TrailReport:
    """Read the whole log, rebuild its tree and compare it with what the server signed.

    Args:
        registry: The database and the store.
        caller: Who asks.
        most: The largest number of rows to check; a longer log is not checked.

    Raises:
        NotFound: Nothing has been sealed yet.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    at, newest = rfc3339_of(datetime.now(UTC)), show_checkpoint(registry, caller)
    if newest.size > most:
        return TrailReport(at=at, size=newest.size, signed=newest.size, waiting=newest.waiting, is_too_long=True)
    own = [key for key in list_keys(registry, caller).items if key.role == SERVER]
    trusted, revoked = (
        [PublicKey.parse(key.key) for key in own if (key.state == "revoked") is is_revoked]
        for is_revoked in (False, True)
    )

    def read(after: str | None) -> TrailPage:
        return read_log(registry, caller, after=after, limit=MOST_ENTRIES)

    return _report(check_lines(log_lines(read, server=""), trusted, LogEvidence(), revoked=revoked), at)


def _report(check: LogCheck, at: str) -> TrailReport:
    last = check.last
    return TrailReport(
        at=at,
        size=check.size,
        signed=0 if last is None else last.checkpoint.size,
        waiting=check.waiting,
        root="" if last is None else last.checkpoint.root.hex(),
        keyid="" if last is None else last.key.keyid,
        found=len(check.findings),
        findings=tuple(TrailFinding(what=each.what, text=each.text, row=each.row) for each in check.findings[:_TOLD]),
        notices=tuple(check.notices),
    )
