"""Failures of workers that did not know what a run needs: a check, a parameter, a kind, a document.

A worker says so by itself (`RunFailure.unknown`). One of a release before the first that does is
recognised by its words. Neither is an attempt: the run goes to a worker that knows.
"""

import re
from typing import Final

from deltareg.wire import RunFailure
from deltareg.wire.knowledge import own_knowledge

SIGNS: Final = (
    "see docs/howto/suites.md",
    "is no check",
    "no such check",
    "knows no run that is a",
    "the worker has sha256:",
    "was never sha256:",
)
"""What an error says, in part, where a worker did not know a suite; the server has accepted the suite."""
_PARAMETER = re.compile(r"check \d+ \(([a-z0-9_]+)\): parameters: has no key '([^']{1,100})'")
_CHECK = re.compile(r"check \d+: '([^']{1,100})' is no check")
_RUN = re.compile(r"knows no run that is a ([a-z]{1,40})")
_CODEC = re.compile(r"chunk codec (\d{1,3}) is unknown")


def unknown_in(failure: RunFailure) -> list[str]:
    """Return the words that a worker did not know; empty where it failed for another reason."""
    if failure.unknown:
        return [failure.unknown]
    if failure.is_out_of_time or failure.measured_s is not None:
        return []
    return words_in(failure.error)


def words_in(error: str) -> list[str]:
    """Return the words that a worker did not know, as its error says it in the words of any release."""
    if match := _PARAMETER.search(error):
        return [f"check {match[1]} with {match[2]}"]
    if match := _CHECK.search(error):
        return [f"check {match[1]}"]
    if match := _RUN.search(error):
        return [f"run {match[1]}"]
    if match := _CODEC.search(error):  # else the bytes are damaged
        return [word] if (word := f"codec {match[1]}") in own_knowledge() else []
    return ["what this suite asks"] if any(sign in error for sign in SIGNS) else []
