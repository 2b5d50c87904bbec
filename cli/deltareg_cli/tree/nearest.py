"""Suggestions for a name that does not exist: the nearest one that does."""

import re
from collections.abc import Iterator
from difflib import get_close_matches

from deltareg.errors import DeltaregError, NotFound
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.wording import clean

# Words of other tools, and the command that does the same here.
_ELSEWHERE = {
    "approve": "request approve",
    "delete": "rm",
    "download": "pull",
    "history": "log",
    "info": "show",
    "list": "ls",
    "login": "auth login",
    "logout": "auth logout",
    "logs": "verdict logs",
    "profile": "config",
    "remove": "rm",
    "status": "doctor",
    "upload": "push",
    "whoami": "auth status",
}
_LINE = re.compile(r"there is no delta ([^\s/]+)/(\S+)")
_BASE = re.compile(r"there is no base '([^']+)'")
_NAMESPACE = re.compile(r"there is no namespace (\S+)")
_FEW = 10
_MOST = 200  # of a longer list those beyond are not looked at


def nearest_commands(word: str, known: list[str]) -> list[str]:
    """Return the commands that a word may mean, nearest first."""
    elsewhere = _ELSEWHERE.get(word.lower())
    return [elsewhere] if elsewhere else get_close_matches(word.lower(), known)


def with_nearest(error: NotFound, invocation: Invocation) -> NotFound:
    """Return the error with the nearest name in it; unchanged where nothing is near.

    The names come from the registry itself, so they include none that the caller may not see.
    """
    try:
        near = next(_near(error.message, invocation), None)
        if near is None:
            return _with_bases(error, invocation)
    except DeltaregError:  # what was wrong first is what matters
        return error
    return NotFound(f"{error.message}; did you mean {clean(near)}?", fix=error.fix)


def _with_bases(error: NotFound, invocation: Invocation) -> NotFound:
    """Add the names of the existing bases, where they are few."""
    if _BASE.search(error.message) is None:
        return error
    names = ", ".join(each.name for each in invocation.client.bases.list(limit=_FEW).items)
    return NotFound(error.message, fix=f"{error.fix}; bases here: {names}") if names else error


def _near(message: str, invocation: Invocation) -> Iterator[str]:
    if (line := _LINE.search(message)) is not None:
        namespace, name = line.groups()
        names = _names(invocation, namespace)
        yield from (f"{namespace}/{near}" for near in get_close_matches(name, names))
        if not names:
            every = [each.ref for each in invocation.client.lines.list(limit=_MOST).items]
            yield from get_close_matches(f"{namespace}/{name}", every)
    elif (missing := _NAMESPACE.search(message)) is not None:
        every = [each.ref for each in invocation.client.lines.list(limit=_MOST).items]
        yield from get_close_matches(missing[1], {ref.partition("/")[0] for ref in every})
    elif (base := _BASE.search(message)) is not None:
        bases = [each.name for each in invocation.client.bases.list(limit=_MOST).items]
        yield from get_close_matches(base[1], bases)


def _names(invocation: Invocation, namespace: str) -> list[str]:
    lines = invocation.client.lines.list(namespace, limit=_MOST).items
    return [each.ref.partition("/")[2] for each in lines]
