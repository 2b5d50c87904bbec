"""Which words of the glossary are good news, bad news, or need attention."""

from deltareg.errors import Blocked, GateFailed
from deltareg.gate.ruling import RULE_ERRORS

TONES: dict[str, str] = {
    **{rule: "bad" if error in {Blocked, GateFailed} else "warn" for rule, error in RULE_ERRORS.items()},
    "pass": "good",
    "allowed": "good",
    "passed": "good",
    "added": "good",
    "fail": "bad",
    "blocked": "bad",
    "removed": "bad",
    "the same": "good",
    "warn": "warn",
    "pending": "warn",
    "skipped": "warn",
    "differs": "warn",
}


def tone(word: str) -> str:
    """Return the style class of a word: `good`, `bad`, `warn`, or nothing."""
    return TONES.get(word, "")
