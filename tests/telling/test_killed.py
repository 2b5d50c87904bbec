"""Nothing is lost, with receivers that are down, slow, lying and killed, and killed deliverers.

`make test` has a thin slice; `make soak` has 10,000 events, and the server itself beside.
"""

import json
import random
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg.refs import LineRef
from deltareg.service.events import Action
from deltareg.service.registry import Registry
from deltareg.service.telling.number import number_all
from deltareg.signing.secret_box import read_or_make_box
from deltareg.store.memory import MemoryStore
from tests.fixtures.processes import Processes, Running
from tests.telling.told import LOOPBACK, hook, owner_of_lab, states, until

HERE = Path(__file__).parent
BEHAVIOURS = ("well", "slow", "lies", "well")  # the last is down at first
SEED = 7


@dataclass
class Place:
    """A receiver that may be started and killed again, on one port and with one log."""

    processes: Processes
    name: str
    behaviour: str
    port: int
    running: Running | None = None
    secret: str = ""

    @property
    def log(self):
        return self.processes.folder / f"{self.name}.jsonl"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/{self.name}"

    def start(self):
        self.running = self.processes.start(
            self.name,
            sys.executable,
            str(HERE / "receiving.py"),
            str(self.port),
            str(self.log),
            self.secret,
            self.behaviour,
            environ=self.processes.environ(self.name),
        )
        until(self.listens, f"{self.name} listens")

    def kill(self):
        assert self.running is not None
        self.running.kill()

    def listens(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def got(self):
        """Give what it kept, in the order that it came."""
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def write_events(registry, ada, numbers, *, of, subjects):
    """Write events as requests do, some in each transaction, of as many lines as receivers."""
    for begin in range(0, len(numbers), 20):
        with write(registry.engine) as conn:
            for at in numbers[begin : begin + 20]:
                line = LineRef("lab", f"x{at % of}")
                ada.record(
                    conn,
                    Action.CHANNEL_PROMOTE,
                    f"{line}@c{at // of % subjects}",
                    on=line,
                    before=None,
                    after={"version": at},
                )


def check(place, wanted, subjects):
    """Hold what a receiver kept against what happened; gives how often something came twice."""
    got = place.got()
    events = [each["event"] for each in got]
    assert [event for event in events if "wrong" in event] == []
    by_subject: dict[str, list[int]] = {}
    for event in events:
        by_subject.setdefault(event["subject"], []).append(event["data"]["version"])
    assert sorted({at for found in by_subject.values() for at in found}) == list(wanted)
    assert len(by_subject) == subjects
    for subject, found in by_subject.items():
        first_times = list(dict.fromkeys(found))
        assert first_times == sorted(first_times), f"{subject} out of order at {place.name}"
    ids = Counter(each["id"] for each in got)
    assert all(each["id"] == each["event"]["id"] for each in got)
    assert len(ids) == len(wanted)
    return sum(ids.values()) - len(wanted)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_receiver_and_a_killed_deliverer_lose_nothing(processes, sqlite_url, figures):
    kill_and_check(processes, sqlite_url, figures, number=60, kills=2, of=("lies", "well"))


@pytest.mark.soak
@pytest.mark.timeout(5_400)
def test_many_kills_lose_nothing_of_ten_thousand_events(processes, database_url, figures):
    kill_and_check(processes, database_url, figures, number=10_000, kills=40, of=BEHAVIOURS)


def kill_and_check(processes, database_url, figures, *, number, kills, of):
    """Let events happen, kill receivers and deliverers by turns, and hold what came against it."""
    subjects = max(5, number // 50 // len(of))
    rng = random.Random(SEED)
    key = processes.folder / "webhook-key"
    registry = Registry(create_engine(database_url), MemoryStore(), box=read_or_make_box(key), networks=LOOPBACK)
    ada = owner_of_lab(registry.engine)
    places = [Place(processes, f"r{at}", behaviour, free_port()) for at, behaviour in enumerate(of)]
    for at, place in enumerate(places):
        _, place.secret = hook(registry, ada, place.url, types=["channel.*"], lines=f"x{at}")
    for place in places[:-1]:
        place.start()

    def deliverer(at):
        return processes.start(
            f"d{at}",
            sys.executable,
            str(HERE / "delivering.py"),
            database_url,
            str(key),
            "1",
            environ=processes.environ(f"d{at}"),
        )

    deliverers = [deliverer(at) for at in range(len(of) // 2)]
    until(lambda: all("ready" in each.output for each in deliverers), "all deliver")
    begun = time.monotonic()
    share = -(-number // kills)
    for at in range(kills):
        numbers = range(number)[at * share : (at + 1) * share]
        write_events(registry, ada, numbers, of=len(of), subjects=subjects)
        if at % 2:
            which = rng.randrange(len(deliverers))
            deliverers[which].kill()
            deliverers[which] = deliverer(which)
        else:
            place = places[rng.randrange(len(places) - 1)]
            place.kill()
            time.sleep(rng.random() / 2)
            place.start()
        time.sleep(0.1 + rng.random() / 5)
    places[-1].start()
    until(lambda: states(registry) == {"delivered": number}, "all is delivered", 4_000)
    took_s = time.monotonic() - begun

    twice = [check(place, range(at, number, len(of)), subjects) for at, place in enumerate(places)]
    with read(registry.engine) as conn:
        tries = conn.execute(sa.select(sa.func.count()).select_from(t.delivery_attempts)).scalar()
    system = registry.engine.dialect.name
    figures(
        f"events to {len(of)} receivers ({', '.join(of)}; the last down at first), {system}",
        f"{number} events in {took_s:.0f} s with {kills} kills:"
        f" none lost, {sum(twice)} repeated, {tries} tries written down",
    )
    registry.engine.dispose()


@pytest.mark.soak
@pytest.mark.timeout(1_200)
def test_a_server_that_is_killed_goes_on_where_it_was(processes, database_url, figures):
    """The server as it is started, with its own pace: killed nine times, restarted each time."""
    number, subjects = 600, 20
    key = processes.folder / "webhook-key"
    box = read_or_make_box(key)
    registry = Registry(create_engine(database_url), MemoryStore(), box=box, networks=LOOPBACK)
    ada = owner_of_lab(registry.engine)
    place = Place(processes, "r", "slow", free_port())
    _, place.secret = hook(registry, ada, place.url, types=["channel.*"])
    place.start()
    api = processes.api(database_url=database_url, webhook_key=key, webhook_networks="127.0.0.0/8")
    begun = time.monotonic()
    for at in range(10):
        server = api.start()
        numbers = range(at * 60, (at + 1) * 60)
        write_events(registry, ada, numbers, of=1, subjects=subjects)
        time.sleep(2)
        if at < 9:
            server.kill()
    until(lambda: states(registry) == {"delivered": number}, "all is delivered", 300)

    twice = check(place, range(number), subjects)
    number_all(registry)
    figures(
        f"events past a server that is killed, {registry.engine.dialect.name}",
        f"{number} in {time.monotonic() - begun:.0f} s with 9 kills: none lost, {twice} repeated",
    )
    registry.engine.dispose()
