"""What is asked of an empty registry and of a full one: calls of the API, of the hub, and pages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx

from deltareg.wire import API


@dataclass(frozen=True)
class Asked:
    """A registry that is asked, and the things in it that calls name.

    Attributes:
        api: Asks as an admin.
        browser: Is logged in to the pages.
        line: The busiest line.
        other: Another one.
        base: The base of the busiest line.
        number: The newest version of the busiest line.
        word: A word in the name of a line.
    """

    api: httpx.Client
    browser: httpx.Client
    line: str
    other: str
    base: str
    number: int
    word: str

    @property
    def namespace(self) -> str:
        return self.line.partition("/")[0]

    @property
    def path(self) -> str:
        return f"{API}/deltas/{self.line}"


@dataclass(frozen=True)
class GrowthCall:
    """Something that is asked; `path` gives where, `is_slow` asks it a few times only."""

    name: str
    path: Callable[[Asked], str]
    is_page: bool = False
    is_slow: bool = False

    def ask(self, asked: Asked) -> None:
        """Ask once.

        Raises:
            SystemExit: The answer is a failure.
        """
        client = asked.browser if self.is_page else asked.api
        answer = client.get(self.path(asked))
        if answer.is_error:
            raise SystemExit(f"{self.name}: {answer.status_code} {answer.text[:300]}")


def growth_calls() -> list[GrowthCall]:
    """Return all of them, in the order of the table."""
    return [
        *(GrowthCall(name, _below(API, path)) for name, path in _API),
        *(GrowthCall(f"hub {name}", _below("/api/models", path)) for name, path in _HUB),
        *(GrowthCall(f"page {name}", _below("/ui", path), is_page=True) for name, path in _PAGES),
        *(GrowthCall(name, _below(API, path), is_slow=True) for name, path in _SLOW),
    ]


def _below(prefix: str, path: str) -> Callable[[Asked], str]:
    def fill(asked: Asked) -> str:
        named = {
            "line": asked.line,
            "other": asked.other,
            "base": asked.base,
            "n": asked.number,
            "word": asked.word,
            "ns": asked.namespace,
        }
        return prefix + path.format(**named)

    return fill


_API = (
    ("whoami", "/whoami"),
    ("resolve, newest", "/resolve?ref={line}"),
    ("resolve by channel", "/resolve?ref={line}@prod"),
    ("resolve by channel, slim", "/resolve?ref={line}@prod&slim=true"),
    ("resolve by number", "/resolve?ref={line}:v{n}"),
    ("show", "/deltas/{line}/versions/{n}"),
    ("manifest", "/deltas/{line}/versions/{n}/manifest"),
    ("gate", "/deltas/{line}/versions/{n}/gate?channel=prod"),
    ("lineage", "/deltas/{line}/versions/{n}/lineage"),
    ("versions of a line", "/deltas/{line}/versions"),
    ("ls", "/deltas"),
    ("ls, 200 rows", "/deltas?limit=200"),
    ("ls of a namespace", "/deltas/{ns}"),
    ("ls by kind and verdict", "/deltas?kind=lora&verdict=pass"),
    ("ls by verdict fail", "/deltas?verdict=fail"),
    ("ls by base", "/deltas?base={base}"),
    ("ls by label", "/deltas?label.step=1"),
    ("ls by a word", "/deltas?search={word}"),
    ("channels ls", "/deltas/{line}/channels"),
    ("channel show", "/deltas/{line}/channels/prod"),
    ("channel history", "/deltas/{line}/channels/prod/revisions"),
    ("readiness", "/deltas/{line}/channels/prod/readiness"),
    ("log", "/deltas/{line}/log"),
    ("log of a channel", "/deltas/{line}/log?channel=prod"),
    ("verdicts ls", "/verdicts"),
    ("verdicts of a line", "/verdicts?ref={line}"),
    ("verdicts of a version", "/verdicts?ref={line}:v{n}"),
    ("verdicts, fail", "/verdicts?verdict=fail"),
    ("runs ls", "/runs"),
    ("runs, queued", "/runs?state=queued"),
    ("runs, dead", "/runs?state=dead"),
    ("queue", "/queue"),
    ("workers", "/workers"),
    ("base ls", "/bases"),
    ("base show", "/bases/{base}"),
    ("base compat", "/bases/{base}/compat"),
    ("search, a word", "/search?text={word}"),
    ("search, a kind", "/search?kind=lora"),
    ("search, a common and a rare word", "/search?text=step%20{word}"),
    ("search, a metric", "/search?metric=effect%3E%3D1e9"),
    ("search in a line", "/search?within={line}&text=step"),
    ("audit ls", "/audit"),
    ("audit by subject", "/audit?subject={other}"),
    ("audit by action", "/audit?action=token.revoke"),
    ("audit by actor", "/audit?actor=nobody"),
    ("audit checkpoint", "/audit/checkpoint"),
    ("events", "/events"),
    ("events of a line", "/events?of={line}"),
    ("fleet ls", "/fleet/agents"),
    ("requests ls", "/requests"),
    ("namespaces", "/namespaces"),
    ("members", "/members?namespace={ns}"),
    ("access review", "/access/review?namespace={ns}"),
    ("tokens", "/tokens"),
    ("suites", "/suites"),
    ("quotas", "/quotas"),
    ("stats of a line", "/stats/storage?line={line}"),
    ("stats of a namespace", "/stats/storage?namespace={ns}"),
)
_HUB = (("model", "/{line}"), ("refs", "/{line}/refs"), ("tree", "/{line}/tree/main"))
_PAGES = (
    ("home", "/"),
    ("deltas", "/deltas"),
    ("deltas by verdict", "/deltas?verdict=pass"),
    ("line", "/deltas/{line}"),
    ("version", "/deltas/{line}/v{n}"),
    ("lineage", "/deltas/{line}/v{n}/lineage"),
    ("channel", "/deltas/{line}/channels/prod"),
    ("policy", "/deltas/{line}/channels/prod/policy"),
    ("bisect", "/deltas/{line}/bisect"),
    ("diff", "/deltas/{line}/diff"),
    ("find", "/find?q={word}"),
    ("requests", "/requests"),
    ("runs", "/runs"),
    ("workers", "/workers"),
    ("bases", "/bases"),
    ("base", "/bases/{base}"),
    ("fleet", "/fleet"),
    ("kept", "/kept"),
    ("storage", "/storage"),
    ("plan", "/storage/plan"),
    ("audit", "/audit"),
    ("access", "/access"),
    ("tokens", "/tokens"),
    ("suites", "/suites"),
)
_SLOW = (("stats", "/stats/storage"), ("gc plan", "/gc/plans"))


def names_of(client: httpx.Client, line: str) -> Iterator[int]:
    """Give the number of the newest version of a line."""
    answer = client.get(f"{API}/deltas/{line}/versions", params={"limit": 1}).raise_for_status().json()
    yield from (item["version"] for item in answer["items"])
