"""The kill harness: SIGKILL in turn on a push, the API server and a worker, and a look around.

Victims and moments follow from the seed. A moment is a random time after the push began, after the
first or the last byte of its pack was seen on the wire, or after its last request was. The phase
that a kill met is read from database and store once the victim is dead.
"""

import json
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from deltareg.errors import DeltaregError
from deltareg.wire import TokenCreate
from tests.faults.ledger import BETWEEN, PHASES, Ledger
from tests.faults.payloads import BASE, content, objects, payload
from tests.faults.proxy import Proxy
from tests.fixtures.processes import Running
from tests.signers import key_of

WORKER = Path(__file__).with_name("worker.py")
VICTIMS = ("push", "server", "worker")
ANCHORS = ("start", "bytes", "arrived", "end")
_PACE_S = 0.35
# How far after its anchor a moment may be. Each reaches beyond the next anchor, so that together
# they leave no gap: between the last byte of a pack and the next request its row is written.
REACH_S = {"bytes": _PACE_S + 0.1, "arrived": 0.1, "end": 0.25}
_LINES = 7
_UNAVAILABLE = 75


@dataclass(frozen=True)
class Kill:
    """One kill: whom, what the moment was counted from, seconds after that, and what it met."""

    victim: str
    anchor: str
    delay_s: float
    phase: str


class KillHarness:
    """A registry under fire; a context manager. What is wrong is collected in `violations`."""

    def __init__(self, processes, server, database_url, *, seed):
        self.processes, self.server = processes, server
        self.seed, self.random = seed, random.Random(seed)
        self.kills: list[Kill] = []
        self.violations: list[str] = []
        self.misses = 0
        self.acknowledged: dict[str, str] = {}
        self._database_url = database_url
        self._pushes = self._seen = self._looks = 0
        self._until_bytes_s = 0.6
        self._workers: list[Running] = []
        self._open = ExitStack()

    def __enter__(self):
        self.server.start()
        self.proxy = self._open.enter_context(Proxy(self.server.port))
        self.ledger = Ledger(self._database_url)
        self._open.callback(self.ledger.close)
        with self.client() as client:
            client.bases.push(BASE, "tiny")
            client.keys.enrol("worker", str(key_of("worker").public), host="here")
            request = TokenCreate(principal="worker", kind="wrk", scopes=["read", "verify"], everywhere=True)
            self._worker_token = client.tokens.create(request).token
        self._start_worker()
        return self

    def __exit__(self, *_):
        self._open.close()

    def run(self, count, *, victims=VICTIMS, is_enough=None):
        """Kill so often, or until it is enough, and look around after each."""
        while len(self.kills) < count and not (is_enough and is_enough(self)):
            victim = victims[len(self.kills) % len(victims)]
            {"push": self._kill_push, "server": self._kill_server, "worker": self._kill_worker}[victim]()
            assert self.misses <= count, "the pushes end before they can be killed"

    def client(self):
        """Make a client of the admin, straight to the server, with an empty cache."""
        self._looks += 1
        cache = self.processes.folder / "looks" / str(self._looks)
        return self.server.client(cache, retries=2)

    def _kill_push(self):
        number, push = self._start_push()
        anchor, delay_s = self._aim(push)
        is_hit = push.kill()
        self._note_acknowledgement(number, push)
        if is_hit:
            self._note_kill("push", anchor, delay_s, self._phase(number))
        else:
            self.misses += 1
        self._look(number)

    def _kill_server(self):
        number, push = self._start_push()
        anchor, delay_s = self._aim(push)
        self.server.kill()
        self._note_kill("server", anchor, delay_s, self._phase(number))
        self.proxy.pace_s = 0.0  # the moment is over; the same push goes on without delay
        self.server.start()
        self.proxy.target = self.server.port
        status = push.wait()
        if status not in {0, _UNAVAILABLE}:
            self._wrong(f"push {number} ended with {status}: {push.errors.strip()}")
        self._note_acknowledgement(number, push)
        self._look(number)

    def _kill_worker(self):
        number = self._next()
        self._push_again(number)
        delay_s = self.random.uniform(0, 0.3)
        time.sleep(delay_s)  # the moment itself; nothing is expected of it
        worker = self._workers[-1]
        worker.kill()
        step = (worker.output.splitlines() or ["starting"])[-1].split()[0]
        self._note_kill("worker", "push", delay_s, step)
        self._start_worker()
        self._look(number)

    def _start_push(self):
        number = self._next()
        self.proxy.arm()
        self.proxy.pace_s = _PACE_S
        push = self.processes.deltareg(
            "push",
            str(self._payload(number)),
            _line(number),
            "--base",
            "tiny",
            "-m",
            f"push {number}",
            "--json",
            server=self.proxy.url,
            token=self.server.token,
        )
        return number, push

    def _aim(self, push):
        """Draw a moment of a push and wait for it."""
        anchor = self.random.choices(ANCHORS, (3, 3, 3, 2))[0]
        share = self.random.random()
        started = time.monotonic()
        if anchor == "start":
            delay_s = share * self._until_bytes_s
        else:
            event = {"bytes": self.proxy.sent, "arrived": self.proxy.arrived, "end": self.proxy.ending}[anchor]
            while not event.wait(0.02) and push.status is None:
                pass
            delay_s = share * REACH_S[anchor]
            if anchor == "bytes":
                self._until_bytes_s += 0.3 * (time.monotonic() - started - self._until_bytes_s)
        time.sleep(delay_s)  # the moment itself; nothing is expected of it
        return anchor, round(delay_s, 4)

    def _start_worker(self):
        environ = self.processes.environ("worker", DELTAREG_SERVER=self.proxy.url, DELTAREG_TOKEN=self._worker_token)
        command = (sys.executable, str(WORKER), "w", "0.08", "5")
        self._workers.append(self.processes.start("worker", *command, environ=environ))

    def _look(self, number):
        """Check what is promised after every kill, and that the same push again succeeds."""
        promised = self.acknowledged.get(f"push {number}")
        found = [row.digest for row in self.ledger.versions(message=f"push {number}")]
        if promised is not None and promised not in found:
            self._wrong(f"lost: push {number} was acknowledged as {promised}, there is {found}")
        self._check_new_versions()
        self._push_again(number)
        self._check_new_versions()

    def _check_new_versions(self):
        for row in self.ledger.versions(after=self._seen):
            self._seen = max(self._seen, row.id)
            self.check_version(row)

    def check_version(self, row):
        """Pull a version and compare it with what was pushed."""
        number = int(row.message.removeprefix("push "))
        ref = f"{row.line}:v{row.number}"
        with self.client() as client:
            to = self.processes.folder / "pulled" / str(self._looks)
            try:
                client.pull(ref, to)
            except DeltaregError as error:
                self._wrong(f"half-visible: {ref} cannot be pulled: {error.message}")
                return
        if content(to) != content(self._payload(number)):
            self._wrong(f"wrong bytes: {ref} is not what was pushed")

    def _push_again(self, number):
        with self.client() as client:
            try:
                report = client.push(self._payload(number), _line(number), base="tiny", message=f"push {number}")
            except DeltaregError as error:
                self._wrong(f"push {number}, given again, failed: {error.message}")
                return
        self.acknowledged.setdefault(f"push {number}", report.version.digest)

    def _note_acknowledgement(self, number, push):
        """Remember a version that a push announced, if it came to that."""
        try:
            document = json.loads(push.output)
        except ValueError:
            if push.status == 0:
                self._wrong(f"push {number} ended with 0 and said {push.output!r}")
            return
        self.acknowledged[f"push {number}"] = document["digest"]

    def _note_kill(self, victim, anchor, delay_s, phase):
        self.kills.append(Kill(victim, anchor, delay_s, phase))

    def _wrong(self, text):
        kill = len(self.kills)
        last = self.kills[-1] if self.kills else None
        self.violations.append(f"after kill {kill} ({last}): {text}")

    def _phase(self, number):
        return self.ledger.phase(_line(number), f"push {number}", objects(self.server.blobs))

    def _payload(self, number):
        return payload(self.processes.folder / "payloads", self.seed * 100_000 + number)

    def _next(self):
        self._pushes += 1
        return self._pushes

    @property
    def verdicts(self):
        """The ids of all verdicts that the registry acknowledged to a worker."""
        steps = [line.split() for worker in self._workers for line in worker.output.splitlines()]
        return [step[4] for step in steps if step[0] == "completed" and len(step) == 5]

    def between(self):
        """Count the kills of a push or a server between first byte and commit."""
        return sum(kill.phase in BETWEEN for kill in self.kills)

    def histogram(self):
        """Give lines: who was killed, in which phase, how often."""
        found = Counter((kill.victim, kill.phase) for kill in self.kills)
        order = [*PHASES, *sorted({k.phase for k in self.kills} - {*PHASES})]
        return [
            f"{victim:<7} {phase:<22} {found[victim, phase]:>4} {'#' * found[victim, phase]}"
            for victim in VICTIMS
            for phase in order
            if found[victim, phase]
        ]


def _line(number):
    return f"lab/line-{number % _LINES}"
