"""The urgency of a run: the words of the wire as the numbers of the queue."""

from deltareg.errors import Forbidden
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.registry import Caller
from deltareg.wire import Priority

PROOF = 20
"""Whether stored bytes are what they are claimed to be: soon found out, and all waits for it."""
HIGH = 10
"""Somebody waits at a channel: a promotion, a rollback."""
NORMAL = 0
"""A push, or somebody who looks at one version."""
LOW = -10
"""What nobody waits for: verified anew because a base came or a suite changed."""
BACKGROUND = -20
"""What changes nothing that anybody sees: another stored form."""

_NUMBERS: dict[Priority, int] = {"high": HIGH, "normal": NORMAL, "low": LOW, "background": BACKGROUND}


def priority_of(caller: Caller, word: Priority, *, on: LineRef) -> int:
    """Return the queue number of the priority that a caller asks for, for a run of a line.

    Raises:
        Forbidden: The run would come before those of others, and the caller has no right to that.
    """
    if word == "high" and not caller.may(Right.PROMOTE, on=on):
        raise Forbidden(
            f"a run of high priority is for those who promote, {caller.principal} may not",
            fix="leave --priority out, or use a token with the scope promote",
        )
    return _NUMBERS[word]


def priority_word(number: int) -> Priority:
    """Return the priority word for a queue number: the nearest at or below it."""
    words: list[Priority] = [word for word, least in _NUMBERS.items() if number >= least]
    return words[0] if words else "background"
