"""Exit statuses: the table that `deltareg help exit-codes` shows, and the errors that lead to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from deltareg.errors import DeltaregError
from deltareg.gate.ruling import RULE_ERRORS
from deltareg.words import Outcome


class ExitStatus(IntEnum):
    """Every status that a command may end with."""

    DONE = 0
    INTERNAL = 1
    INVALID = 2
    NOT_FOUND = 3
    FORBIDDEN = 4
    CONFLICT = 5
    INTEGRITY = 6
    BASE_MISMATCH = 7
    GATE_FAILED = 8
    GATE_PENDING = 9
    DIFFERENT = 10
    INCONCLUSIVE = 11
    QUOTA = 12
    BLOCKED = 13
    UNAVAILABLE = 75
    TIMEOUT = 124
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ExitMeaning:
    """A row of the table: what a status means, and whether to try again."""

    status: ExitStatus
    text: str
    retry: str


MEANINGS: tuple[ExitMeaning, ...] = (
    ExitMeaning(ExitStatus.DONE, "done; a server or worker that was asked to stop, by Ctrl-C too", ""),
    ExitMeaning(ExitStatus.INTERNAL, "internal error: a bug", "no"),
    ExitMeaning(ExitStatus.INVALID, "usage, invalid input, or an upload that is refused", "no"),
    ExitMeaning(ExitStatus.NOT_FOUND, "not found", "no"),
    ExitMeaning(ExitStatus.FORBIDDEN, "not logged in, or not allowed", "no"),
    ExitMeaning(ExitStatus.CONFLICT, "conflict: it exists, it moved, it runs or it is held", "read it again first"),
    ExitMeaning(ExitStatus.INTEGRITY, "integrity: bytes do not have their digest", "pull again"),
    ExitMeaning(ExitStatus.BASE_MISMATCH, "the base is not the one that the delta was made for", "no"),
    ExitMeaning(ExitStatus.GATE_FAILED, "gate failed: the verdict is fail", "no"),
    ExitMeaning(ExitStatus.GATE_PENDING, "gate not met yet: a verdict or an approval is missing", "later"),
    ExitMeaning(
        ExitStatus.DIFFERENT, "a difference was found (`diff --exit-code`, `fleet drift`, `apply --dry-run`)", ""
    ),
    ExitMeaning(ExitStatus.INCONCLUSIVE, "verification inconclusive; never a pass", "yes"),
    ExitMeaning(ExitStatus.QUOTA, "quota or disk full", "no"),
    ExitMeaning(ExitStatus.BLOCKED, "revoked, quarantined, frozen, or blocked by policy", "no"),
    ExitMeaning(ExitStatus.UNAVAILABLE, "the server or the network cannot answer now; tried for 30 s", "yes"),
    ExitMeaning(ExitStatus.TIMEOUT, "waiting timed out; the work goes on, its ID was printed", "ask again"),
    ExitMeaning(ExitStatus.INTERRUPTED, "interrupted; what was done is kept", "same command"),
)

OUTCOME_STATUS: dict[Outcome, ExitStatus] = {
    "pass": ExitStatus.DONE,
    "fail": ExitStatus.GATE_FAILED,
    "inconclusive": ExitStatus.INCONCLUSIVE,
}

# The gravest unmet rule decides, in this order; a rule that a newer server brings is "not met yet".
RULE_STATUS: dict[str, ExitStatus] = {rule: ExitStatus(error.exit_code) for rule, error in RULE_ERRORS.items()}


def exit_status(error: DeltaregError) -> ExitStatus:
    """Return the exit status of an error."""
    return ExitStatus(error.exit_code)


def gate_status(rules: Sequence[str]) -> ExitStatus:
    """Return the exit status of a gate's answer, by the names of its unmet rules."""
    if not rules:
        return ExitStatus.DONE
    gravest = (status for rule, status in RULE_STATUS.items() if rule in rules)
    return next(gravest, ExitStatus.GATE_PENDING)
