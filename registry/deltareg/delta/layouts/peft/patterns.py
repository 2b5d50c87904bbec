"""Regular expressions of a config, matched as the library matches them and in bounded time.

The library gives some fields to `re`, over every module name, and one of thirty characters can run
for minutes. `regex` reads the same expressions and gives up when its time is over. The few that the
two read differently are refused, so a name matches here only if it matches there.
"""

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from deltareg.errors import Problem, Refused

LONGEST = 4096
"""Characters of an expression; those that tools write for vision models have some hundred."""
MOST = 64
"""Expressions of one config."""
_SECONDS = 1.0
_COUNTS = re.compile(r"\{(\d{0,9})(?:,(\d{0,9}))?\}")
_LONG_COUNT = re.compile(r"\{,?\d{10}|\{\d+,\d{10}")
_MOST_COPIES = 1000  # counts may be within each other, and compiling writes all of them out
# `regex` alone reads it: {e<=1} allows errors in what stands before it.
_FUZZY = re.compile(r"\{[^}\d,]")


@dataclass(slots=True)
class PatternBudget:
    """The limits for all expressions of one config together.

    Attributes:
        seconds: How long matching may still take.
        expressions: How many there may still be.
    """

    seconds: float = _SECONDS
    expressions: int = MOST


@dataclass(slots=True)
class Pattern:
    """One expression; earlier answers are cached.

    Attributes:
        text: As in the config.
    """

    text: str
    _match: Callable[..., object] = field(repr=False)
    _budget: PatternBudget = field(repr=False)
    _known: dict[str, bool] = field(default_factory=dict[str, bool], repr=False)

    def matches(self, name: str) -> bool:
        """Whether the expression matches the whole name.

        Raises:
            Refused: It takes too long, or the expressions before it did.
        """
        cached = self._known.get(name)
        if cached is not None:
            return cached
        began = time.monotonic()
        try:
            is_match = self._match(name, timeout=max(self._budget.seconds, 0.001)) is not None
        except TimeoutError as error:
            raise Refused([_too_slow(self.text)]) from error
        self._budget.seconds -= time.monotonic() - began
        self._known[name] = is_match
        return is_match


def whole_pattern(text: str, budget: PatternBudget) -> Pattern | str:
    """Compile an expression that must match a whole name; return the reason if it cannot be used."""
    return _compile_pattern(text, text, budget)


def ending_pattern(text: str, budget: PatternBudget) -> Pattern | str:
    """Compile an expression that must match a name, or its end after a dot."""
    return _compile_pattern(text, rf"(?:.*\.)?(?:{text})", budget)


def _compile_pattern(text: str, whole: str, budget: PatternBudget) -> Pattern | str:
    budget.expressions -= 1
    if budget.expressions < 0:
        return f"is one expression more than the {MOST} that a config may hold"
    if len(text) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if _FUZZY.search(text) or _LONG_COUNT.search(text) or _copies(text) > _MOST_COPIES:
        return "is an expression that is not read here"
    import regex  # few configs hold an expression

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what `re` will read in another way one day
            re.compile(whole)
            return Pattern(text, regex.compile(whole, regex.VERSION0).fullmatch, budget)
    except (re.error, regex.error, Warning, OverflowError, RecursionError) as error:
        return f"is no regular expression ({error})"


def _copies(text: str) -> int:
    copies = 1
    for least, most in _COUNTS.findall(text):
        copies = min(copies * max(int(most or least or 1), 1), _MOST_COPIES + 1)
    return copies


def _too_slow(text: str) -> Problem:
    return Problem(
        "bad_config",
        f"adapter_config.json: the regular expression {text[:80]} takes too long to match",
        fix="write the names of the modules as a list",
    )
