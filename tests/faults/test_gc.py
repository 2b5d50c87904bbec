"""Collection without grace in a loop, beside four pushers, a deleter and a reader, over HTTP."""

import os
import random
import threading
import time
from collections import Counter
from contextlib import closing

import pytest

from deltareg.errors import Conflict, DeltaregError, Unavailable, UploadClosed
from tests.faults.ledger import Ledger
from tests.faults.payloads import BASE, content, objects, payload

SEED = int(os.environ.get("DELTAREG_TEST_SEED", "7"))
PUSHERS, CONTENTS, LINES = 4, 10, 3
CLEAN = (Conflict, Unavailable, UploadClosed)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_collection_beside_pushes_and_deletions_misses_nothing(processes, database_url, figures):
    race = race_for(1.5, processes, database_url, figures, breath_s=0.2)

    assert race.done["pushes"] > PUSHERS
    assert race.done["objects freed"] > 0
    assert race.done["deletions"] > 0
    assert race.done["pulls"] > 0


@pytest.mark.soak
def test_a_minute_of_collection_misses_nothing(processes, database_url, figures):
    race = race_for(60, processes, database_url, figures)

    assert race.done["pushes"] > PUSHERS
    assert race.done["objects freed"] > 0


@pytest.mark.soak
def test_a_minute_without_a_breath_misses_nothing(processes, database_url, figures):
    """No push gets through such a loop, for each collection closes all open ones; it is safe."""
    race_for(60, processes, database_url, figures, breath_s=0)


def race_for(seconds, processes, database_url, figures, *, breath_s=0.5):
    server = processes.api(database_url=database_url).start()
    with closing(Ledger(database_url)) as ledger:
        race = Race(server, ledger, processes.folder, breath_s=breath_s)
        race.run(seconds)
        race.check()

    done = ", ".join(f"{count} {name}" for name, count in sorted(race.done.items()))
    figures(f"{seconds} s at grace 0", done)
    assert race.wrong == [], f"seed {SEED}; again: DELTAREG_TEST_SEED={SEED}"
    assert race.done["collections"] > 1
    return race


class Race:
    """Everybody at once on one registry; what is wrong is collected in `wrong`."""

    def __init__(self, server, ledger, folder, *, breath_s):
        self._breath_s = breath_s
        self.server, self.ledger, self.folder = server, ledger, folder
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._numbers = iter(range(10**9))
        with self._client() as client:
            client.bases.push(BASE, "tiny")

    def run(self, seconds):
        """Let all of them work for a while."""
        actors = [self._push] * PUSHERS + [self._delete, self._read, self._collect]
        threads = [
            threading.Thread(target=self._act, args=(actor, random.Random(SEED * 100 + number)))
            for number, actor in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)  # how long it goes on; nothing is expected of it
        self._wait_for_work()
        self._stop.set()
        for thread in threads:
            thread.join()

    def _wait_for_work(self):
        """Go on for longer, and slower, where too little has come to its end to be shown."""
        if self._breath_s == 0:  # no push gets through
            return
        self._breath_s = max(self._breath_s, 1.0)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (self.wrong or self._has_shown_all()):
            time.sleep(0.2)

    def _has_shown_all(self):
        each = ("deletions", "pulls", "objects freed")
        return self.done["pushes"] > PUSHERS and self.done["collections"] > 2 and all(self.done[name] for name in each)

    def check(self):
        """Look at everything when all is quiet."""
        with self._client() as client:
            client.storage.collect(dry_run=False, grace_s=0)
            self.wrong += [str(finding) for finding in client.storage.fsck(read_data=True).findings]
            for row in self.ledger.versions():
                self._pull(client, row)
        needed, kept = self.ledger.needed_keys(), objects(self.server.blobs)
        self.wrong += [f"missing: {key}" for key in needed - kept]
        self.wrong += [f"left over: {key}" for key in kept - needed]

    def _act(self, actor, chance):
        with self._client() as client:
            while not self._stop.is_set():
                try:
                    actor(client, chance)
                except Exception as error:  # noqa: BLE001  # whatever it is, the test says it
                    self.wrong.append(f"{actor.__name__}: {type(error).__name__}: {error}")
                    return

    def _push(self, client, chance):
        number = chance.randrange(CONTENTS)
        line = f"lab/line-{chance.randrange(LINES)}"
        try:
            report = client.push(self._payload(number), line, base="tiny", message=f"push {number}")
        except CLEAN as error:
            self.done[f"clean failures ({type(error).__name__})"] += 1
            return
        self.done["pushes" if report.created else "pushes of what was there"] += 1

    def _delete(self, client, chance):
        row = self._any(chance)
        if row is None:
            return
        try:
            client.versions.delete(f"{row.line}:v{row.number}")
        except CLEAN as error:
            self.done[f"clean failures ({type(error).__name__})"] += 1
            return
        self.done["deletions"] += 1

    def _read(self, client, chance):
        row = self._any(chance)
        if row is None:
            return
        with self._client() as fresh:
            self._pull(fresh, row)

    def _pull(self, client, row):
        """Pull a version; that may fail only when it was deleted meanwhile."""
        to = self.folder / "pulled" / str(next(self._numbers))
        ref = f"{row.line}:v{row.number}"
        try:
            client.pull(ref, to)
        except DeltaregError as error:
            if any(other.id == row.id for other in self.ledger.versions()):
                self.wrong.append(f"{ref} cannot be pulled: {error.code}: {error.message}")
            return
        self.done["pulls"] += 1
        if content(to) != content(self._payload(int(row.message.split()[1]))):
            self.wrong.append(f"{ref} has other bytes than were pushed")

    def _collect(self, client, chance):
        freed = client.storage.collect(dry_run=False, grace_s=0)
        self.done["collections"] += 1
        self.done["objects freed"] += freed.objects
        self._stop.wait(chance.uniform(0, self._breath_s))

    def _any(self, chance):
        found = self.ledger.versions()
        return chance.choice(found) if found else None

    def _payload(self, number):
        return payload(self.folder / "payloads", SEED * 100_000 + number)

    def _client(self):
        cache = self.folder / "caches" / str(next(self._numbers))
        return self.server.client(cache)
