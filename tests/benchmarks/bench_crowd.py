"""Eight clients at once on a filled registry: `python tests/benchmarks/bench_crowd.py`.

A registry is filled as `make fill` does and served by a process of its own. Eight connections ask it
without a pause, each as another person: resolves, pages of lists, and rollbacks of a line of its own; then all of it
mixed, as a day is; and the same again by clients that each ask ten things a second, which is what
eight busy ones do. Before anything is measured, all ask it for a fifth of that time, as the first answers
after a server's start are slow: the slowest of them stands by itself. `--registry URL FOLDER` takes a
filled registry that is there. A table tells how long an answer takes in the middle, in 99 of 100
cases, and at most.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice, repeat
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.wire import API
from tests.benchmarks import page
from tests.benchmarks.filled_registry import add_options, asked_databases, filled_registry
from tests.scale.filled import serving

_BUSY = "scale0/line0"
_MIX = 20
"""Of so many things that a client asks, one is a page of a list, one a rollback, and the rest resolves."""
_PACE_S = 0.1


@dataclass(frozen=True)
class Served:
    """A server that runs in a process of its own."""

    url: str
    token: str


@dataclass
class Crowded:
    """One client, with a line of its own to roll back.

    Attributes:
        http: Its connection.
        line: Its line.
        numbers: The versions that it rolls back to, in turn.
    """

    http: httpx.Client
    line: str
    numbers: tuple[int, int]
    moves: Iterator[int] = field(default_factory=count)

    def get(self, path: str) -> None:
        """Ask for something below the API.

        Raises:
            SystemExit: The answer is a failure.
        """
        _expect(self.http.get(f"{API}{path}"))

    def roll_back(self) -> None:
        """Move the channel of this client's own line to the other of two versions, as the client does."""
        path = f"{API}/deltas/{self.line}/channels/prod"
        seen = _expect(self.http.get(path)).headers["ETag"]
        body = {"kind": "rollback", "version": self.numbers[next(self.moves) % 2], "reason": "measured"}
        _expect(self.http.post(f"{path}/revisions", json=body, headers={"If-Match": seen}))


Ask = Callable[[Crowded], None]
Asked = Callable[[], Iterable[tuple[str, Ask]]]
ASKED: Mapping[str, Ask] = {
    "resolve by channel": lambda client: client.get(f"/resolve?ref={_BUSY}@prod"),
    "resolve by channel, slim": lambda client: client.get(f"/resolve?ref={_BUSY}@prod&slim=true"),
    "a page of a line's versions": lambda client: client.get(f"/deltas/{_BUSY}/versions"),
    "a page of lines": lambda client: client.get("/deltas"),
    "rollback, two requests": Crowded.roll_back,
}


def mixed() -> Iterator[tuple[str, Ask]]:
    """Give what a client asks through a day: resolves, and now and then a list and a move."""
    resolve, _, _, lines, move = ASKED.items()
    for number in count():
        yield {0: lines, _MIX // 2: move}.get(number % _MIX, resolve)


def _expect(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise SystemExit(f"{answer.request.url}: {answer.status_code} {answer.text[:300]}")
    return answer


def main() -> None:
    """Measure, print and perhaps write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row of the table")
    options = parser.parse_args()
    text = page.print_blocks(table(kind, options) for kind in asked_databases(options))
    page.write_docs(options, f"crowd of {options.versions:,}", text)


def table(kind: str, options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of one database."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dr-crowd-")))
        url, folder = filled_registry(stack, kind, options, place)
        served = stack.enter_context(in_its_process(url, folder))
        crowd = stack.enter_context(clients(served, options.clients))
        yield f"{kind}, {options.versions:,} versions, {options.clients} clients"
        yield f"{'':<46}{'of':>8}{'a second':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'cold ms':>9}"
        yield from told(crowd, options.seconds)


@contextmanager
def in_its_process(url: str, folder: Path) -> Iterator[Served]:
    """Serve a filled registry from a process of its own until the block ends."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(url, folder, theirs))
    process.start()
    try:
        yield Served(*ours.recv())
    finally:
        ours.close()
        process.join()


def _serve(url: str, folder: Path, told_by: Connection) -> None:
    with serving(url, folder) as server:
        told_by.send((server.url, server.admin_token))
        with suppress(EOFError):
            told_by.recv()  # until the other end is closed


@contextmanager
def clients(served: Served, number: int) -> Iterator[list[Crowded]]:
    """Make clients, each of a person of its own and with a line that has two versions to roll back to."""
    with ExitStack() as stack:

        def client(token: str) -> httpx.Client:
            headers = {"Authorization": f"Bearer {token}"}
            return stack.enter_context(httpx.Client(base_url=served.url, headers=headers, timeout=300))

        admin = client(served.token)
        lines = lines_to_move(admin)
        yield [Crowded(client(token_of(admin, f"crowd-{each}")), *next(lines)) for each in range(number)]


def token_of(admin: httpx.Client, person: str) -> str:
    """Make a token of somebody who may read and move everything."""
    asked = {"principal": person, "kind": "pat", "scopes": ["read", "promote"], "everywhere": True}
    return str(_expect(admin.post(f"{API}/tokens", json=asked)).json()["token"])


def lines_to_move(http: httpx.Client) -> Iterator[tuple[str, tuple[int, int]]]:
    """Give lines but the busiest, with two versions that `prod` has served."""
    query: dict[str, str | int] = {"channel": "prod", "limit": 200}
    for line in http.get(f"{API}/deltas", params=query).raise_for_status().json()["items"]:
        served = http.get(f"{API}/deltas/{line['ref']}/channels/prod/revisions", params={"limit": 200})
        numbers = dict.fromkeys(move["version"] for move in served.raise_for_status().json()["items"])
        if line["ref"] != _BUSY and len(numbers) > 1:
            now, before, *_ = numbers
            yield line["ref"], (before, now)


def told(crowd: Sequence[Crowded], seconds: float) -> Iterator[str]:
    """Let all clients ask one thing after the other, and tell of each in a line."""
    for name, ask in ASKED.items():
        asked = partial(repeat, (name, ask))
        cold = at_once(crowd, seconds / 5, asked)[name]
        yield _row(name, at_once(crowd, seconds, asked)[name], seconds, cold=cold)
    for name, took in at_once(crowd, 2 * seconds, mixed).items():
        yield _row(f"mixed: {name}", took, 2 * seconds)
    for name, took in at_once(crowd, 6 * seconds, mixed, pace_s=_PACE_S).items():
        yield _row(f"ten a second each: {name}", took, 6 * seconds)


def at_once(crowd: Sequence[Crowded], seconds: float, asked: Asked, *, pace_s: float = 0.0) -> dict[str, list[float]]:
    """Let all clients ask for so long, and give how many seconds each answer took, by name.

    Args:
        crowd: The clients.
        seconds: For how long.
        asked: Gives what a client asks, one thing after the other.
        pace_s: From when on a client asks for the next thing; without one, it asks as soon as it is answered.
    """
    took: dict[str, list[float]] = defaultdict(list)
    began_at = time.monotonic()
    until = began_at + seconds

    def keep_asking(client: Crowded) -> None:
        after_others = crowd.index(client) / len(crowd)
        for number, (name, ask) in enumerate(islice(asked(), int(_MIX * after_others), None)):
            time.sleep(max(0.0, began_at + (number + after_others) * pace_s - time.monotonic()))
            began = time.perf_counter()
            ask(client)
            took[name].append(time.perf_counter() - began)
            if time.monotonic() > until:
                return

    with ThreadPoolExecutor(len(crowd)) as pool:
        list(pool.map(keep_asking, crowd))
    return took


def _row(name: str, took: Sequence[float], seconds: float, *, cold: Sequence[float] = ()) -> str:
    p99 = statistics.quantiles(took, n=100, method="inclusive")[-1]
    shown = "".join(f"{1000 * each:>9.1f}" for each in (statistics.median(took), p99, max(took)))
    slowest = f"{1000 * max(cold):>9.1f}" if cold else ""
    return f"{name:<46}{len(took):>8}{len(took) / seconds:>10.0f}{shown}{slowest}"


if __name__ == "__main__":
    main()
