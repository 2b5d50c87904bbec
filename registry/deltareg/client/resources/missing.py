"""Finds the verifications that a gate's answer still needs, in the commands that it names."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deltareg.errors import GatePending, Inconclusive
from deltareg.gate.ruling import RULE_ERRORS

if TYPE_CHECKING:
    from deltareg.wire import GateAnswer

# An inconclusive verdict judged nothing, so what was asked for is as missing as before.
_RULES = {rule for rule, error in RULE_ERRORS.items() if error in {GatePending, Inconclusive}}
_DEFAULT_SUITE = "smoke"


@dataclass(frozen=True, slots=True)
class MissingVerification:
    """A verification to queue: its suite, whether to repeat it, and whether others must run it."""

    suite: str
    again: bool = False
    independent: bool = False


def missing_verifications(answer: "GateAnswer") -> list[MissingVerification]:
    """Return the verifications that have to run before the gate can judge; each suite once.

    The server says what to do about each unmet rule (`deltareg verify REF --suite smoke --wait`);
    this function follows those commands and nothing else, whatever rules come to exist.
    """
    by_suite: dict[str, MissingVerification] = {}
    for rule in answer.unmet:
        verification = _read(rule.fix) if rule.rule in _RULES else None
        if verification is not None:
            before = by_suite.get(verification.suite, verification)
            again = verification.again or before.again or rule.rule == "stale"
            by_suite[verification.suite] = MissingVerification(
                verification.suite, again, verification.independent or before.independent
            )
    return list(by_suite.values())


def _read(command: str) -> MissingVerification | None:
    try:
        words = shlex.split(command)
    except ValueError:  # an open quote: no command
        return None
    if words[:2] != ["deltareg", "verify"]:
        return None
    at = words.index("--suite") + 1 if "--suite" in words else len(words)
    return MissingVerification(
        words[at] if at < len(words) else _DEFAULT_SUITE, "--again" in words, "--independent" in words
    )
