"""Who uses a site while it storms: pushers, pullers, a deleter, a promoter, a keeper of lines, an auditor.

Each act is written down before it is made, and its answer before the next act. What fails is counted, and
is wrong where it is no failure that such a day explains.
"""

import json
import random
import shutil
import threading
import time
from collections import Counter
from itertools import count

from deltareg.errors import (
    BadSignature,
    Blocked,
    Conflict,
    DeltaregError,
    DiskFull,
    GateFailed,
    GatePending,
    IntegrityFailure,
    LogRewritten,
    NotFound,
    StaleRevision,
    Unavailable,
    UploadClosed,
)
from deltareg.wire import RetentionRule
from tests.faults.payloads import content, payload
from tests.fixtures.processes import until

LINES, KEPT = 5, 4
SERVED, CHANNEL, AGED = "lab/served", "prod", "aged/line"
# What a command says when a site is in such a state, and the same command may be given again.
CLEAN_EXITS = {5: "conflict", 6: "damaged", 12: "no room", 75: "unavailable", -9: "killed"}
CLEAN = (Unavailable, UploadClosed, Conflict, StaleRevision, DiskFull)
ALARMS = (BadSignature, LogRewritten)
PERIODS_S = {
    "push": 14.0,
    "pull": 7.0,
    "delete": 40.0,
    "promote": 20.0,
    "age": 25.0,
    "audit": 50.0,
    "collect": 45.0,
    "check": 90.0,
    "back_up": 60.0,
}
ACTORS = ("push", "push", "pull", "delete", "promote", "age", "audit", "collect", "check", "back_up")


class Crowd:
    """All who act; a context manager, while which they do.

    Attributes:
        done: Acts that were acknowledged, by name; those that failed as they may, by act and why.
        wrong: What no storm explains.
    """

    def __init__(self, site, journal, *, seed):
        self.site, self.journal, self.seed = site, journal, seed
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.folder = site.folder / "crowd"
        self.folder.mkdir()
        self.backups = self.folder / "backups"
        self._numbers, self._places = count(1), count(1)
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._act, args=(name, number), name=f"{name}-{number}")
            for number, name in enumerate(ACTORS)
        ]

    def __enter__(self):
        with self.site.client(self.folder / "cache-of-first") as client:
            self._push_first(client)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def payload(self, number):
        """Give the folder that a number stands for, made anew where it is gone."""
        return payload(self.folder / "payloads", self.seed * 100_000 + number)

    def pushed(self):
        """Give what was acknowledged: by version, the number of its payload."""
        return {line["ref"]: line["number"] for line in self.journal.find("pushed")}

    def deleted(self):
        """Give the versions that somebody asked to delete, with or without an answer."""
        return {line["ref"] for line in self.journal.find("delete")}

    def is_equal(self, client, ref, number):
        """Pull a version and compare every byte with what was pushed; raises what a pull raises."""
        to = self.folder / "pulled" / str(next(self._places))
        client.pull(ref, to)
        is_equal = content(to) == content(self.payload(number))
        shutil.rmtree(to)
        return is_equal

    def _push_first(self, client):
        for line in (SERVED, AGED):
            self._push_by(client, line)
        for kind, every_s in {
            "collect": 60,
            "retain": 30,
            "tidy": 60,
            "archive": 60,
            "check": 90,
            "recount": 120,
        }.items():
            client.storage.set_operation(kind, every_s=every_s)
        client.storage.set_retention(AGED, [RetentionRule(last=KEPT)])
        until(lambda: client.gate(f"{SERVED}:v1", CHANNEL).allowed, "the first is verified", timeout_s=120, pause_s=0.5)
        self._move(client, "promote", 1)

    def _act(self, name, number):
        chance = random.Random(self.seed * 1000 + number)
        act = getattr(self, f"_{name}")
        with self.site.client(self.folder / f"cache-{name}-{number}") as client:
            while not self._over.wait(PERIODS_S[name] * chance.uniform(0.4, 1.4)):
                try:
                    act(client, chance)
                except CLEAN as error:
                    self.failed[f"{name}: {type(error).__name__}"] += 1
                except ALARMS as error:
                    self.wrong.append(f"{name}: {type(error).__name__}: {error.message}")
                except IntegrityFailure as error:  # a store that lies is found out, whoever asks
                    self.failed[f"{name}: {type(error).__name__}"] += 1
                    self.journal.write("integrity", act=name, why=error.message)
                except DeltaregError as error:
                    self.wrong.append(f"{name}: {type(error).__name__}: {error.message}")
                except Exception as error:  # noqa: BLE001  # no answer of a registry, whatever it is
                    self.wrong.append(f"{name}: {error!r}")
                else:
                    continue
                self.journal.write("failed", act=name)

    def _push(self, client, chance):
        """Give the command, until it succeeds: the same one goes on where it stopped."""
        number, line = next(self._numbers), f"lab/line-{chance.randrange(LINES)}"
        self.journal.write("push", number=number, line=line)
        home = f"pusher-{threading.current_thread().name}"
        began = time.monotonic()
        for attempt in count(1):
            words = ("push", str(self.payload(number)), line, "--base", "tiny", "-m", f"push {number}", "--json")
            running = self.site.processes.deltareg(
                *words, server=self.site.links["clients"].url, token=self.site.token, home=home, DELTAREG_PATIENCE="8s"
            )
            self.site.commands[home] = running
            status = running.wait(300)
            self.site.commands.pop(home)
            found = acknowledged(running.output)
            if found is not None:
                self.journal.write("pushed", number=number, ref=found["ref"], digest=found["digest"])
                self.done["push"] += 1
                return
            self._note_exit("push", number, running, status)
            if self._over.wait(2.0) and (attempt > 20 or time.monotonic() - began > 400):
                self.wrong.append(f"stuck: push {number} does not succeed: {running.errors[-300:]}")
                return

    def _note_exit(self, name, number, running, status):
        self.failed[f"{name}: {CLEAN_EXITS.get(status, status)}"] += 1
        self.journal.write("failed", act=name, number=number, status=status, said=running.errors[-400:])
        if "Traceback" in running.errors or status not in CLEAN_EXITS:
            self.wrong.append(f"{name} {number} ended with {status}: {running.errors[-500:]}")

    def _push_by(self, client, line):
        number = next(self._numbers)
        self.journal.write("push", number=number, line=line)
        made = client.push(self.payload(number), line, base="tiny", message=f"push {number}", golden=False).version
        self.journal.write("pushed", number=number, ref=made.ref, digest=made.digest)
        self.done["push"] += 1
        return made

    def _pull(self, client, chance):
        known = self.pushed()
        ref = chance.choice(sorted(known))
        try:
            if not self.is_equal(client, ref, known[ref]):
                self.wrong.append(f"{ref} is not what was pushed")
        except (NotFound, Blocked) as error:
            if ref not in self.deleted() and not ref.startswith(AGED):
                self.wrong.append(f"lost: {ref} is not found: {error.message}")
            return
        self.done["pull"] += 1

    def _delete(self, client, chance):
        gone = self.deleted()
        live = [ref for ref in self.pushed() if ref.startswith("lab/line-") and ref not in gone]
        if len(live) < 3:
            return
        ref = chance.choice(live)
        self.journal.write("delete", ref=ref)
        client.versions.delete(ref)
        self.journal.write("deleted", ref=ref)
        self.done["delete"] += 1

    def _promote(self, client, chance):
        """Push the next version and promote it when it passed, or roll back to one before."""
        if chance.random() < 0.3:
            ledger = client.channels.history(SERVED, CHANNEL, limit=20).items
            before = [item.version for item in ledger if item.version != ledger[0].version]
            if before:
                self._move(client, "rollback", before[0])
            return
        number = int(self._push_by(client, SERVED).ref.rpartition(":v")[2])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not self._over.wait(1.0):
            try:
                self._move(client, "promote", number)
            except (GatePending, Unavailable):
                continue
            except (GateFailed, StaleRevision, Conflict, Blocked) as error:
                self.failed[f"promote: {type(error).__name__}"] += 1
            return

    def _move(self, client, kind, version):
        self.journal.write("move", kind=kind, version=version)
        if kind == "promote":
            moved = client.promote(f"{SERVED}:v{version}", CHANNEL, reason="onward")
        else:
            moved = client.rollback(SERVED, CHANNEL, version=version, reason="back")
        self.journal.write("moved", kind=kind, version=version, revision=moved.revision)
        self.done[kind] += 1

    def _age(self, client, _):
        self._push_by(client, AGED)

    def _audit(self, client, _):
        found = client.audit.verify()
        self.wrong += [f"audit: {finding}" for finding in found.findings]
        self.done["audit verify"] += 1

    def _collect(self, client, _):
        done = client.storage.collect(dry_run=False, grace_s=5.0, keep_forms_s=5.0)
        self.done["collect"] += 1
        self.done["objects freed"] += done.objects

    def _check(self, client, _):
        client.storage.check_pieces(share=0.3)
        self.done["checks of pieces"] += 1

    def _back_up(self, client, _):
        known = [ref for ref in self.pushed() if ref not in self.deleted()]
        name = "backup"
        environ = self.site.environ_of_server("server-1")
        environ = {key: value for key, value in environ.items() if key != "LD_PRELOAD"}
        words = (*self.site.backup_command, "--to", str(self.backups))
        running = self.site.programs.start(name, *words, environ=environ)
        self.site.commands[name] = running
        status = running.wait(300)
        self.site.commands.pop(name)
        if status == 0:
            made = running.output.split()[2]
            self.journal.write("backed up", name=made, refs=known)
            self.done["backup"] += 1
        else:
            self._note_exit("backup", 0, running, status)


def acknowledged(output):
    """Give what a push announced, if it came to that."""
    try:
        return json.loads(output)
    except ValueError:
        return None
