"""A mirror that is killed anywhere, between two registries that are both written."""

import random
import shutil
import time
from contextlib import ExitStack

import pytest

from deltareg.service.upkeep import fsck
from tests.faults.payloads import BASE, content, payload
from tests.fixtures.registries import running

ROUNDS, KILLS = 5, 8


@pytest.fixture
def two(tmp_path, sqlite_template):
    """Run two registries that know nothing of each other."""
    with ExitStack() as stack:
        servers = []
        for name in ("here", "there"):
            folder = tmp_path / name
            folder.mkdir()
            shutil.copyfile(sqlite_template, folder / "registry.db")
            url = f"sqlite:///{folder / 'registry.db'}"
            servers.append(stack.enter_context(running(url, (folder / "store").as_uri(), folder)))
        yield servers


class MirrorDrill:
    """Two registries, both written, and mirrors between them that are killed."""

    def __init__(self, two, processes, folder):
        self.clients = [server.client() for server in two]
        self.urls = [server.url for server in two]
        self.tokens = [server.token("read", "push", "promote") for server in two]
        self.processes, self.folder = processes, folder
        self.chance = random.Random(5)
        self.kills = self.pushed = 0
        self._takes_s = 4.0

    def start(self, *args):
        return self.processes.deltareg(
            "mirror", *args, server=self.urls[0], token=self.tokens[0], DELTAREG_MIRROR_TOKEN=self.tokens[1]
        )

    def succeed(self, *args):
        began = time.monotonic()
        ended = self.start(*args)
        assert ended.wait() == 0, ended.output + ended.errors
        self._takes_s = time.monotonic() - began

    def write(self):
        """Push to both while they are apart."""
        for client in self.clients:
            for _ in range(3):
                self.pushed += 1
                client.push(payload(self.folder, self.pushed), f"lab/line{self.pushed % 2}", base="base")

    def kill(self, times):
        for _ in range(times):
            running_ = self.start("run", self.chance.choice(("pull", "push")))
            time.sleep(self._takes_s * self.chance.uniform(0.2, 1.0))
            self.kills += running_.kill()

    def held(self):
        """Give what each has, by digest."""
        found: list[dict[str, object]] = [{}, {}]
        for number, client in enumerate(self.clients):
            for line in [info.ref for info in client.lines.list()]:
                found[number] |= {version.digest: version for version in client.versions.list(line)}
        return found


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_both_are_equal_after_kills_in_both_directions(two, processes, figures, tmp_path):
    drill = MirrorDrill(two, processes, tmp_path)
    (here, there), held = drill.clients, drill.held()
    for client in drill.clients:
        client.bases.push(BASE, "base")
    for way in ("pull", "push"):
        drill.succeed("add", drill.urls[1], f"--{way}", "--name", way)
    for _ in range(ROUNDS):
        drill.write()
        drill.kill(KILLS)
        for way in ("pull", "push"):
            drill.succeed("run", way)
        held = drill.held()
        assert held[0].keys() == held[1].keys()
        assert len(held[0]) == drill.pushed

    for digest, version in held[0].items():
        ref = f"{version.namespace}/{version.name}@{digest}"
        assert content(here.pull(ref).path) == content(there.pull(ref).path)
    findings = [f for s in two for f in fsck.check(s.registry.engine, s.registry.store, read_data=True).findings]
    figures("mirrors", f"{drill.kills} kills, {drill.pushed} versions equal on both sides")
    assert [finding for finding in findings if finding.kind != "orphan"] == []
    assert drill.kills > ROUNDS * KILLS / 3
