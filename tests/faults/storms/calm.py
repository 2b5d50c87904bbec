"""What must hold when the storm is over: nothing lost, nothing wrong, nothing stuck.

What was acknowledged stands in the journal. Rows are read from the database, bytes are pulled, the audit
trail is verified by a machine that has watched all the time and by one that has not.
"""

import shutil
import time
from contextlib import closing, suppress

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.runs.superseding import BY
from deltareg.db.session import create_engine, read
from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry
from deltareg.service.runs.dead_proofs import ask_again
from deltareg.service.upkeep.fsck import check
from deltareg.store import open_store
from deltareg.store.memory import MemoryStore
from tests.faults.ledger import Ledger
from tests.faults.payloads import content
from tests.faults.storms.crowd import AGED, CHANNEL, KEPT, SERVED
from tests.faults.storms.site import SERVERS
from tests.fixtures.processes import until

STILL_S = 240.0
_OPEN = {"queued", "running"}
# What fsck finds and nobody misses: bytes that no row names, which collection or people take away.
LITTER = {"orphan"}


class Calm:
    """Looks at a site after a storm.

    Attributes:
        lost, wrong, stuck: What must be empty.
        seen: Figures for people.
    """

    def __init__(self, site, crowd, journal):
        self.site, self.crowd, self.journal = site, crowd, journal
        self.seen = {}
        self.wrong = [text for text in crowd.wrong if not text.startswith(("lost", "stuck"))]
        self.lost = [text for text in crowd.wrong if text.startswith("lost")]
        self.stuck = [text for text in crowd.wrong if text.startswith("stuck")]

    def look(self):
        """Wait for stillness, then check everything."""
        began = time.monotonic()
        self._wait_for_servers()
        with (
            closing(Ledger(self.site.pair.url)) as ledger,
            self.site.client(self.site.folder / "cache-of-calm", patience_s=30.0, retries=5) as client,
        ):
            self._wait_for_runs(ledger)
            self._ask_again()
            self._wait_for_runs(ledger)
            self._count_runs(ledger)
            self.seen["still after"] = f"{time.monotonic() - began:.0f} s"
            self._check_storage(client)
            self._check_versions(client)
            self._check_retention(client)
            self._check_channel(client)
            self._check_agent(client)
            self._check_operations(client)
            self._check_trail(client)
        self._check_backup()

    def _await(self, predicate, what, timeout_s=STILL_S):
        try:
            return until(predicate, what, timeout_s=timeout_s, pause_s=0.5)
        except AssertionError as error:
            self.stuck.append(f"not within {timeout_s:.0f} s: {error}")
            return None

    def _wait_for_servers(self):
        for name in SERVERS:
            self._await(lambda name=name: self.site.is_ready(name), f"{name} is ready")
        self._await(lambda: self.site.pair.is_ready, "the database has a standby")

    def _wait_for_runs(self, ledger):
        def open_runs():
            rows = ledger._rows(sa.select(t.runs.c.id, t.runs.c.what, t.runs.c.state, t.runs.c.error))
            return [row for row in rows if row.state in _OPEN]

        left = len(open_runs())
        while left and self._await(lambda left=left: len(open_runs()) < left, "one of the runs has ended"):
            left = len(open_runs())

    def _ask_again(self):
        """Ask again for the proofs that died, as servers do after some time."""
        engine = create_engine(self.site.pair.url)
        try:
            ask_again(Registry(engine, MemoryStore()), rest_s=0.0)
        finally:
            engine.dispose()

    def _count_runs(self, ledger):
        rows = ledger._rows(sa.select(t.runs))
        self.stuck += [f"run {row.id} {row.what} is {row.state}: {row.error}" for row in rows if row.state in _OPEN]
        done = {row.dedup_key for row in rows if row.state == "done"}
        deleted = {
            row.id: row.deleted_at or 0 for row in ledger._rows(sa.select(t.versions.c.id, t.versions.c.deleted_at))
        }
        counts: dict[str, int] = {}
        for row in rows:
            counts[f"{row.what} {row.state}"] = counts.get(f"{row.what} {row.state}", 0) + 1
            if row.state != "dead":
                continue
            # Nobody asks again for what died before its version was deleted.
            is_over = row.dedup_key in done or row.finished_at < deleted.get(row.version_id, 0)
            if not (row.what == "prove" and is_over):
                self.stuck.append(f"run {row.id} {row.what} is dead: {row.error}")
        for row in ledger.runs():
            is_superseded = row.state == "cancelled" and (row.result or {}).get(BY)
            if row.state == "done" and row.verdicts != 1:
                self.wrong.append(f"run {row.id} is done with {row.verdicts} verdicts")
            if row.state == "cancelled" and not is_superseded:
                counts["cancelled otherwise"] = counts.get("cancelled otherwise", 0) + 1
        self.seen["runs"] = counts

    def _check_storage(self, client):
        found = client.storage.fsck(read_data=True).findings
        self.seen["fsck"] = f"{len(found)} findings, {sum(one.kind in LITTER for one in found)} of them litter"
        self.lost += [f"fsck: {one}" for one in found if one.kind not in LITTER]

    def _check_versions(self, client):
        asked, pulled, gone = self.crowd.deleted(), 0, 0
        answered = {line["ref"] for line in self.journal.find("deleted")}
        for ref, number in self.crowd.pushed().items():
            try:
                if not self.crowd.is_equal(client, ref, number):
                    self.wrong.append(f"{ref} is not what was pushed")
                pulled += 1
                if ref in answered:
                    self.wrong.append(f"{ref} is there and was deleted")
            except DeltaregError as error:
                gone += 1
                if ref not in asked and not ref.startswith(f"{AGED}:"):
                    self.lost.append(f"{ref}: {type(error).__name__}: {error.message}")
        self.seen["versions"] = f"{pulled} pulled and equal, {gone} deleted as asked"

    def _check_retention(self, client):
        self._settle_operation(client, "retain")
        live = sorted(int(item.ref.rpartition(":v")[2]) for item in client.versions.list(AGED).items)
        acknowledged = sorted(int(ref.rpartition(":v")[2]) for ref in self.crowd.pushed() if ref.startswith(f"{AGED}:"))
        self.lost += [
            f"{AGED}:v{number} is one of the newest {KEPT}" for number in acknowledged[-KEPT:] if number not in live
        ]
        self.seen["retention"] = f"{len(live)} of {len(acknowledged)} acknowledged are left, {KEPT} are to be"
        if len(live) > KEPT:
            self.stuck.append(f"retention leaves {live}")

    def _check_channel(self, client):
        kept: dict[int, int] = {}
        cursor = None
        while True:
            page = client.channels.history(SERVED, CHANNEL, cursor=cursor)
            kept |= {item.revision: item.version for item in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
        moved = {line["revision"]: line["version"] for line in self.journal.find("moved")}
        asked = {line["version"] for line in self.journal.find("move")}
        self.lost += [
            f"revision {at} to v{to}, there is {kept.get(at)}" for at, to in moved.items() if kept.get(at) != to
        ]
        if sorted(kept) != list(range(1, len(kept) + 1)):
            self.wrong.append(f"the ledger has gaps: {sorted(kept)}")
        self.wrong += [f"revision {at} to v{to}, which nobody asked for" for at, to in kept.items() if to not in asked]
        unheard = len(kept) - len(moved)
        if unheard > len(self.journal.find("move")) - len(moved):
            self.wrong.append(f"{unheard} revisions that were not acknowledged")
        pointer = client.channels.show(SERVED, CHANNEL)
        if (pointer.revision, pointer.version) != (len(kept), kept[len(kept)]):
            self.wrong.append(f"the channel is at {pointer.revision}, its ledger at {len(kept)}")
        self.seen["ledger"] = f"{len(kept)} revisions, {len(moved)} acknowledged"

    def _check_agent(self, client):
        pointer = client.channels.show(SERVED, CHANNEL)
        current = self.site.disks["agent"] / "served" / "current"
        wanted = f"{SERVED.replace('/', '--')}--v{pointer.version}-"

        def is_served():
            with suppress(OSError):
                return current.readlink().name.startswith(wanted)

        self._await(is_served, f"the agent serves {pointer.ref}")
        number = self.crowd.pushed().get(f"{SERVED}:v{pointer.version}")
        served = content(current.resolve())
        if number is not None and not content(self.crowd.payload(number)).items() <= served.items():
            self.wrong.append("what the agent serves is not what was pushed")

    def _settle_operation(self, client, kind):
        before = client.storage.operation(kind).ended_at
        client.storage.set_operation(kind, now=True)
        self._await(lambda: client.storage.operation(kind).ended_at != before, f"{kind} is done")

    def _check_operations(self, client):
        for kind in ("collect", "tidy", "archive", "check"):
            self._settle_operation(client, kind)
        self.stuck += [f"operation {one.kind}: {one.failure}" for one in client.storage.operations() if one.failure]

    def _check_trail(self, client):
        size = signed = 0
        for cache in ("cache-of-calm", "cache-audit-6"):
            with self.site.client(self.site.folder / ("crowd/" * (cache != "cache-of-calm")) / cache) as one:
                found = one.audit.verify(whole=True)
                self.wrong += [f"audit: {finding}" for finding in found.findings]
                size, signed = found.size, found.signed
        self.seen["trail"] = f"{size} rows, {signed} signed"

    def _check_backup(self):
        """Restore the last backup that was acknowledged, as another host, and pull all that it must have."""
        made = self.journal.find("backed up")
        self.seen["backups"] = f"{len(made)}"
        if not made:
            self.stuck.append("no backup was ever made")
            return
        last = made[-1]
        again = self.site.programs.api("restored", database_url=f"sqlite:///{self.site.folder / 'restored.db'}")
        words = (*self.site.backup_command[:-1], "restore", "--from", str(self.crowd.backups), "--backup", last["name"])
        running = self.site.programs.start("restore", *words, environ=again._environ)
        if running.wait(300):
            self.lost.append(f"the backup {last['name']} cannot be restored: {running.errors[-500:]}")
            return
        engine = create_engine(f"sqlite:///{self.site.folder / 'restored.db'}")
        with read(engine) as conn:
            assert conn.execute(sa.select(sa.func.count()).select_from(t.versions)).scalar()
        self.lost += [
            f"of the backup: {one}" for one in check(engine, open_store(again.blobs.as_uri()), read_data=True).findings
        ]
        engine.dispose()
        again.start()
        pushed, asked, compared = self.crowd.pushed(), self.crowd.deleted(), 0
        with again.client(self.site.folder / "cache-of-restored", token=self.site.token) as client:
            for ref in last["refs"]:
                try:
                    if not self.crowd.is_equal(client, ref, pushed[ref]):
                        self.wrong.append(f"restored: {ref} is not what was pushed")
                    compared += 1
                except DeltaregError as error:
                    if ref not in asked and not ref.startswith(f"{AGED}:"):
                        self.lost.append(f"restored: {ref}: {error.message}")
        again.stop()
        self.seen["restored"] = f"{compared} of {len(last['refs'])} pulled and equal"
        shutil.rmtree(again.data_dir)
