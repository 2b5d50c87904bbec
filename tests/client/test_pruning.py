"""What goes when the cache is too large: the longest unused first, and nothing that is pinned."""

import hashlib
import os
import shutil

import pytest

from deltareg.client import Client
from deltareg.client.cache.cache import Cache
from deltareg.client.cache.in_use import in_use
from deltareg.client.compare.behavior import BehaviorOptions
from deltareg.digest import Digest
from deltareg.errors import Conflict, InvalidInput, NotFound
from tests.client.grids import Traffic, assert_served_well, fill, storage_of
from tests.fixtures.registries import SAMPLES

DAY_S = 86_400
NOW = 1_700_000_000.0  # long past: what is used during a test is newer


@pytest.fixture(scope="module")
def server(shared_registry, tmp_path_factory):
    return fill(shared_registry, tmp_path_factory.mktemp("grid"))


@pytest.fixture
def client(server):
    return server.client(("read",))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path)


def digest_of(raw):
    return Digest("sha256", hashlib.sha256(raw).hexdigest())


def used(path, days_ago):
    os.utime(path, (NOW, NOW - days_ago * DAY_S))


def kept(cache, raw, *, days_ago):
    path = cache.keep_blob(digest_of(raw), [raw], size_bytes=len(raw))
    used(path, days_ago)
    return digest_of(raw)


def total(client):
    return sum(entry.size_bytes for entry in client.cache.entries())


def test_the_longest_unused_goes_first(cache):
    old = kept(cache, b"a" * 100, days_ago=3)
    cache.parts.keep(old, 0, [b"a" * 50])
    used(cache.parts.folder(old), 2)
    new = kept(cache, b"b" * 100, days_ago=1)

    cache.prune(max_bytes=160, now=NOW)
    left = [(entry.kind, entry.digest) for entry in cache.entries()]
    cache.prune(max_bytes=120, now=NOW)

    assert left == [("parts", old.hex), ("blobs", new.hex)]
    assert [entry.digest for entry in cache.entries()] == [new.hex]


def test_use_is_noted_and_reading_for_another_purpose_is_not(cache):
    first = kept(cache, b"a" * 100, days_ago=30)
    second = kept(cache, b"b" * 100, days_ago=20)
    cache.verify()
    cache.entries()
    cache.blob_path(first).read_bytes()

    before = [entry.digest for entry in cache.entries()]
    cache.find_blob(first)
    after = [entry.digest for entry in cache.entries()]

    assert before == [first.hex, second.hex]
    assert after == [second.hex, first.hex]


def test_what_is_too_old_goes(cache):
    kept(cache, b"a", days_ago=31)
    new = kept(cache, b"b", days_ago=29)

    report = cache.prune(older_than_s=30 * DAY_S, now=NOW)

    assert report.removed == 1
    assert [entry.digest for entry in cache.entries()] == [new.hex]


def test_what_is_pinned_stays(cache):
    pinned = kept(cache, b"a" * 100, days_ago=99)
    kept(cache, b"b" * 100, days_ago=1)
    cache.pins.add("mine", (pinned.hex,))

    cache.prune(max_bytes=0, older_than_s=DAY_S, now=NOW)

    assert [(e.digest, e.is_pinned) for e in cache.entries()] == [(pinned.hex, True)]


def test_a_pin_that_cannot_be_read_still_holds(cache):
    pinned = kept(cache, b"a" * 100, days_ago=99)
    cache.pins.add("mine", (pinned.hex,))
    path = cache.path / "pins" / pinned.hex
    path.chmod(0o644)
    path.write_bytes(b"\0")

    cache.prune(max_bytes=0)

    assert [entry.digest for entry in cache.entries()] == [pinned.hex]


def test_a_cache_that_cannot_be_written_is_read(cache):
    """As on a disk that is mounted read-only, or one of somebody else."""
    digest = kept(cache, b"a" * 100, days_ago=1)
    path = cache.blob_path(digest)

    assert cache.find_blob(digest) == path
    assert cache.find_blob(digest_of(b"absent")) is None


def test_pulls_keep_the_cache_in_its_limits(server):
    client = server.client(("read",), cache_max_bytes=6_000_000)

    client.pull("team/grid:v2")
    path = client.pull("team/grid:v1").path

    assert total(client) <= 6_000_000
    assert_served_well(client, path, "team/grid:v1")


def test_what_was_just_given_stays_over_the_limit(server):
    client = server.client(("read",), cache_max_bytes=1)

    path = client.pull("team/grid:v1").path

    assert_served_well(client, path, "team/grid:v1")
    assert [entry.path for entry in client.cache.entries()] == [path]


def test_both_sides_of_a_comparison_stay_over_the_limit(server):
    behavior = server.client(("read",), cache_max_bytes=1).behavior
    question = behavior.ask("team/grid:v1", "team/grid:v2", BehaviorOptions())

    with behavior.at_hand(question) as request:
        sides = [request[side] for side in ("a", "b")]
        here = [side[part].is_dir() for side in sides for part in ("base", "delta")]

    assert here == [True] * 4


def test_materialize_keeps_the_cache_in_its_limits(server, tmp_path):
    client = server.client(("read",), cache_max_bytes=1)

    client.materialize("team/lora:v1", tmp_path / "out")

    assert client.cache.entries() == []


def test_a_base_that_came_keeps_the_cache_in_its_limits(local_registry, tmp_path):
    base = shutil.copytree(SAMPLES / "bases" / "tinyllama", tmp_path / "base")
    local_registry.client().bases.push(base, "tinyllama")
    shutil.rmtree(base)  # now the registry alone has it
    client = local_registry.client(("read",), cache_max_bytes=1)

    with client.bases.fetch(client.bases.show("tinyllama")) as found:
        left = [entry.path for entry in client.cache.entries()]

    assert left == [found.path]


def test_a_pinned_version_survives_and_needs_no_network_for_its_bytes(client):
    path = client.pull("team/grid:v2").path
    pin = client.cached.pin("team/grid:v2")

    client.cache.prune(max_bytes=0)
    traffic = Traffic(client)
    client.pull("team/grid:v2")

    packs = {pack.digest.hex for pack in storage_of(client, "team/grid:v2").packs}
    assert pin.name == "team/grid:v2"
    assert set(pin.digests) == {path.name, *packs}
    assert {entry.kind for entry in client.cache.entries()} >= {"snapshots", "parts"}
    assert traffic.blobs == []


@pytest.mark.parametrize("text", ["team/grid:v1", "team/grid@sha256", "short"])
def test_a_pin_is_taken_out_by_any_of_its_names(client, text):
    path = client.pull("team/grid:v1").path
    names = {"team/grid@sha256": f"team/grid@sha256:{path.name}", "short": path.name[:8]}
    client.cached.pin("team/grid:v1")

    client.cached.unpin(names.get(text, text))

    assert client.cache.pins.all() == []
    client.cache.prune(max_bytes=0)
    assert client.cache.entries() == []


def test_a_pinned_thing_is_not_removed(client):
    path = client.pull("team/grid:v1").path
    client.cached.pin(path.name[:12])

    for text in ("team/grid:v1", path.name):
        with pytest.raises(Conflict, match="is pinned"):
            client.cached.remove(text)

    assert path.is_dir()


def test_a_version_is_removed_with_its_packs(client):
    client.pull("team/grid:v1")
    client.pull("team/lora:v1")

    would = client.cached.remove("team/grid:v1", dry_run=True)
    did = client.cached.remove("team/grid:v1")

    assert (would.removed, would.bytes) == (did.removed, did.bytes) == (2, did.bytes)
    assert {entry.kind for entry in client.cache.entries()} == {"snapshots", "blobs"}
    assert total(client) < 100_000


def test_what_is_not_there_is_told(client: Client):
    client.pull("team/lora:v1")

    for act in (client.cached.pin, client.cached.unpin, client.cached.remove):
        for text in ("ab", "0123456789", "team/absent"):
            with pytest.raises(NotFound):
                act(text)
        with pytest.raises((InvalidInput, NotFound)):
            act("")


def test_a_base_that_is_held_stays_over_the_limit(cache):
    folder = cache.folder_path("bases", Digest("blake3", "a" * 64))
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 100)

    with in_use(cache.path, "a" * 64):
        while_held = [cache.prune(max_bytes=0, dry_run=is_dry).removed for is_dry in (True, False)]
    cache.prune(max_bytes=0)

    assert (while_held, cache.entries()) == ([0, 0], [])
