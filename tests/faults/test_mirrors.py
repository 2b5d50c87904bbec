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


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_both_are_equal_after_kills_in_both_directions(two, processes, figures, tmp_path):
    chance, kills, number = random.Random(5), 0, 0
    clients = [server.client() for server in two]
    for client in clients:
        client.bases.push(BASE, "base")
    urls, tokens = [server.url for server in two], [server.token("read", "push", "promote") for server in two]
    for way in ("pull", "push"):
        added = processes.deltareg("mirror", "add", urls[1], f"--{way}", "--name", way, server=urls[0], token=tokens[0])
        assert added.wait() == 0, added.errors

    def run(way):
        return processes.deltareg(
            "mirror", "run", way, server=urls[0], token=tokens[0], DELTAREG_MIRROR_TOKEN=tokens[1]
        )

    takes_s = 4.0
    for _ in range(ROUNDS):
        for client in clients:  # while they are apart
            for _ in range(3):
                number += 1
                client.push(payload(tmp_path, number), f"lab/line{number % 2}", base="base")
        for _ in range(KILLS):
            running_ = run(chance.choice(("pull", "push")))
            time.sleep(takes_s * chance.uniform(0.2, 1.0))
            kills += running_.kill()
        began = time.monotonic()
        for way in ("pull", "push"):
            ended = run(way)
            assert ended.wait() == 0, ended.output + ended.errors
        takes_s = (time.monotonic() - began) / 2

        held = [{v.digest: v for line in ("lab/line0", "lab/line1") for v in c.versions.list(line)} for c in clients]
        assert held[0].keys() == held[1].keys()
        assert len(held[0]) == number
    for digest, version in held[0].items():
        line = f"{version.namespace}/{version.name}@{digest}"
        assert content(clients[0].pull(line).path) == content(clients[1].pull(line).path)
    findings = [fsck.check(s.registry.engine, s.registry.store, read_data=True).findings for s in two]
    figures("mirrors", f"{kills} kills, {number} versions equal on both sides")
    assert [[f for f in found if f.kind != "orphan"] for found in findings] == [[], []]
    assert kills > ROUNDS * KILLS / 3
