"""Regular expressions of a config, matched as the library matches them and for a bounded time.

The library gives some fields to `re`, over every module name, and one of thirty characters can run
for minutes. `regex` reads the same expressions and gives up when its time is over. The few that the
two read differently are refused, so a name that matches here is one that matches there.
"""

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import regex

from deltareg.errors import Problem, Refused

LONGEST = 4096
"""Characters of an expression; those that tools write for vision models have some hundred."""
_BUDGET_S = 1.0
_MOST_REPEATS = re.compile(r"\{\d{5,}|\{\d*,\d{5,}")
# `regex` alone reads it: {e<=1} allows errors in what stands before it.
_FUZZY = re.compile(r"\{[^}\d,]")


@dataclass(slots=True)
class Pattern:
    """One expression; what was asked before is remembered.

    Attributes:
        text: As in the config.
        matches_whole: Gives what is true of a name that the expression is all of.
    """

    text: str
    _match: Callable[..., object] = field(repr=False)
    _known: dict[str, bool] = field(default_factory=dict[str, bool], repr=False)
    _spent_s: float = field(default=0.0, repr=False)

    def matches(self, name: str) -> bool:
        """Whether the expression is one of a whole name.

        Raises:
            Refused: It takes too long to say.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        began = time.monotonic()
        try:
            found = self._match(name, timeout=max(_BUDGET_S - self._spent_s, 0.001)) is not None
        except TimeoutError as error:
            raise Refused([_too_slow(self.text)]) from error
        self._spent_s += time.monotonic() - began
        self._known[name] = found
        return found


def whole_pattern(text: str) -> Pattern | str:
    """Read an expression that has to be all of a name; gives why not where it cannot be used."""
    return _compiled(text, text)


def ending_pattern(text: str) -> Pattern | str:
    """Read an expression that has to be a name, or the end of one after a dot."""
    return _compiled(text, rf"(?:.*\.)?(?:{text})")


def _compiled(text: str, whole: str) -> Pattern | str:
    if len(text) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if _FUZZY.search(text) or _MOST_REPEATS.search(text):
        return "is an expression that is not read here"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what `re` will read in another way one day
            re.compile(whole)
            return Pattern(text, regex.compile(whole, regex.VERSION0).fullmatch)
    except (re.error, regex.error, Warning, OverflowError, RecursionError) as error:
        return f"is no regular expression ({error})"


def _too_slow(text: str) -> Problem:
    return Problem(
        "bad_config",
        f"adapter_config.json: the regular expression {text[:80]} takes too long to match",
        fix="write the names of the modules as a list",
    )
