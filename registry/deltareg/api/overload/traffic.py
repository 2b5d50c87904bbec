"""Classes of requests, by what they cost and who waits for them: under load the last one is shed first.

- *health*: answered always.
- *first*: resolves, which serving hosts wait for; long polls, streams and leases, which cost nothing while they wait;
  bodies of files and packs, which have slots of their own.
- *change*: pushes, pulls, promotions, reports of workers, single things.
- *list*: lists, searches and pages; dear, and somebody can ask again.
"""

import re
from typing import Final, Literal

from deltareg.wire import API

Traffic = Literal["health", "first", "change", "list"]

_HEALTH: Final = frozenset({"/livez", "/readyz", "/metrics"})
_RESOLVE: Final = f"{API}/resolve"
_LEASES: Final = f"{API}/leases"
_STREAM: Final = "/stream"
_BODY = re.compile(
    rf"{API}/uploads/[^/]+/packs/\d+|/lfs/[0-9a-f]{{32}}|/cas/.+|/api/models/[^/]+/[^/]+/commit/.+"
    r"|(/[^/]+){1,2}/resolve/.+"
)
_LISTS: Final = frozenset(
    {
        "agents",
        "audit",
        "bases",
        "commits",
        "comparisons",
        "compat",
        "deliveries",
        "deltas",
        "diff",
        "events",
        "evidence",
        "explain",
        "figures",
        "findings",
        "keys",
        "lineage",
        "log",
        "members",
        "models",
        "namespaces",
        "plans",
        "pulls",
        "queue",
        "requests",
        "review",
        "revisions",
        "runs",
        "search",
        "sessions",
        "suites",
        "tokens",
        "tree",
        "verdicts",
        "versions",
        "webhooks",
        "workers",
    }
)
_STATISTICS: Final = f"{API}/stats/"
_OF_NAMESPACE = re.compile(rf"{API}/deltas/[^/]+")
_PAGES: Final = "/ui"
_STATIC: Final = "/ui/static/"
_LOGIN = re.compile(rf"/ui/(login|sign-in.*)|{API}/tokens:exchange")


def traffic_of(method: str, path: str, query: bytes) -> Traffic:
    """Return the class of a request."""
    if path in (_RESOLVE, _LEASES):
        return "first"
    if path in _HEALTH:
        return "health"
    if b"wait=" in query or path.endswith(_STREAM) or _BODY.fullmatch(path):
        return "first"
    if method not in {"GET", "HEAD"}:
        return "change"
    is_list = path.rpartition("/")[2] in _LISTS or path.startswith(_STATISTICS) or _OF_NAMESPACE.fullmatch(path)
    return "list" if is_page(path) or is_list else "change"


def is_page(path: str) -> bool:
    """Whether a request asks for a page, which people look at."""
    return path == _PAGES or (path.startswith(f"{_PAGES}/") and not path.startswith(_STATIC))


def waits_by_itself(path: str, query: bytes) -> bool:
    """Whether a request waits for something to happen, so that how long it takes says nothing."""
    return b"wait=" in query or path.endswith(_STREAM) or path == _LEASES


def is_login(method: str, path: str) -> bool:
    """Whether a request is how somebody without a token gets one."""
    return method == "POST" and _LOGIN.fullmatch(path) is not None
