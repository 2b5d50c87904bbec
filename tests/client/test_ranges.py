"""A pull fetches the stretches of packs that it needs and the cache lacks, on both stacks."""

import os
import threading
from dataclasses import replace

import httpx
import pytest

from deltareg.client import Client
from deltareg.client.cache.cache import Cache
from deltareg.errors import IntegrityFailure, Unavailable
from deltareg.identity.pack_spans import MOST_TIMES
from deltareg.service.lines import bundles
from tests.client.grids import COUNT, TENSOR_BYTES, Traffic, assert_served_well, fill, storage_of, write_grid


@pytest.fixture(autouse=True)
def by_themselves(monkeypatch):
    """Have packs come as those of larger versions do."""
    monkeypatch.setattr(bundles, "PACKS_BYTES", 0)


@pytest.fixture
def server(registry_server, tmp_path):
    return fill(registry_server, tmp_path)


@pytest.fixture(scope="module")
def local(shared_registry, tmp_path_factory):
    return fill(shared_registry, tmp_path_factory.mktemp("grid"))


@pytest.fixture
def reader(local):
    return local.client(("read",))


def large_pack(client):
    return max(storage_of(client, "team/grid:v1").packs, key=lambda pack: pack.size_bytes)


def parts(client):
    return sorted(path for path in (client.cache.path / "parts").rglob("*") if path.is_file())


def damage(path):
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_only_the_stretches_that_are_needed_come(server):
    reader = server.client(("read",))
    pack = large_pack(reader)
    traffic = Traffic(reader)

    some = reader.pull("team/grid:v2")
    ranges = [answer for answer in traffic.blobs if answer.status_code == 206]
    rest = reader.pull("team/grid:v1")

    assert some.fetched_bytes < pack.size_bytes / 4
    assert len(ranges) == 4  # config.json, 2, 9 and 10 together, 15
    assert some.cached_bytes == 0
    assert rest.fetched_bytes + rest.cached_bytes == pack.size_bytes
    assert traffic.bytes == some.fetched_bytes + rest.fetched_bytes
    assert_served_well(reader, some.path, "team/grid:v2")
    assert_served_well(reader, rest.path, "team/grid:v1")


def test_parts_become_a_pack_when_the_rest_has_come(reader):
    reader.pull("team/grid:v2")
    assert len(parts(reader)) == 4

    reader.pull("team/grid:v1")

    assert parts(reader) == []
    assert reader.cache.find_blob(large_pack(reader).digest) is not None
    assert reader.cache.verify() == []


def test_parts_that_are_here_are_not_fetched_again(reader, tmp_path):
    first = reader.pull("team/grid:v2", tmp_path / "one")
    traffic = Traffic(reader)

    second = reader.pull("team/grid:v2", tmp_path / "two")

    assert (second.fetched_bytes, traffic.bytes) == (0, 0)
    assert 0 < second.cached_bytes <= first.fetched_bytes


def test_a_pack_that_is_here_serves_its_stretches(reader):
    reader.pull("team/grid:v1")

    some = reader.pull("team/grid:v2")

    assert some.fetched_bytes < 1000
    assert some.cached_bytes > 3 * TENSOR_BYTES / 2
    assert parts(reader) == []


def test_a_damaged_part_is_fetched_anew_and_the_others_are_not(reader, tmp_path):
    first = reader.pull("team/grid:v2", tmp_path / "one")
    broken = max(parts(reader), key=lambda path: path.stat().st_size)
    damage(broken)

    told = reader.cache.verify()
    healed = reader.pull("team/grid:v2", tmp_path / "two")

    assert [name.partition("#")[0] for name in told] == [f"sha256:{large_pack(reader).digest.hex}"]
    assert broken.stat().st_size <= healed.fetched_bytes < first.fetched_bytes
    assert_served_well(reader, tmp_path / "two", "team/grid:v2")
    assert reader.cache.verify() == []


def test_a_short_part_is_fetched_anew(reader, tmp_path):
    reader.pull("team/grid:v2", tmp_path / "one")
    short = parts(reader)[0]
    short.chmod(0o644)
    os.truncate(short, 10)

    assert reader.pull("team/grid:v2", tmp_path / "two").fetched_bytes > 0
    assert_served_well(reader, tmp_path / "two", "team/grid:v2")


def test_wrong_bytes_that_came_as_a_part_are_dropped(reader, tmp_path):
    """A part may be what it was written as and still be wrong; the chunks of it tell."""
    digest = large_pack(reader).digest
    reader.pull("team/grid:v2", tmp_path / "one")
    for part in reader.cache.parts.find(digest):
        part.path.unlink()
        reader.cache.parts.keep(digest, part.span.begin, [bytes(part.span.size_bytes)])
    assert reader.cache.verify() == []

    healed = reader.pull("team/grid:v2", tmp_path / "two")

    assert healed.fetched_bytes > 3 * TENSOR_BYTES / 2
    assert_served_well(reader, tmp_path / "two", "team/grid:v2")


def test_parts_that_make_no_pack_are_dropped(reader, tmp_path):
    digest = large_pack(reader).digest
    reader.cache.parts.keep(digest, 1 << 20, [bytes(1 << 20)])

    reader.pull("team/grid:v1", tmp_path / "out")

    assert_served_well(reader, tmp_path / "out", "team/grid:v1")
    assert reader.cache.verify() == []


def test_a_store_with_wrong_bytes_is_never_believed(local_registry, tmp_path):
    fill(local_registry, tmp_path)
    for file in (local_registry.folder / "blobs").rglob("*"):
        if file.is_file() and file.stat().st_size > TENSOR_BYTES:
            file.chmod(0o644)
            file.write_bytes(bytes(file.stat().st_size))
    reader = local_registry.client(("read",))

    with pytest.raises(IntegrityFailure):
        reader.pull("team/grid:v2", tmp_path / "out")

    assert not (tmp_path / "out").exists()
    assert parts(reader) == []


def test_something_on_the_way_that_knows_no_ranges(reader):
    traffic = Traffic(reader)
    reader._api._http.event_hooks["request"].append(lambda r: r.headers.pop("Range", None))

    some = reader.pull("team/grid:v2")

    assert {answer.status_code for answer in traffic.blobs} == {200}
    assert some.fetched_bytes == traffic.bytes
    assert_served_well(reader, some.path, "team/grid:v2")


def test_a_range_that_was_not_asked_for_is_refused(reader, tmp_path):
    def other(request: httpx.Request) -> None:
        if "Range" in request.headers:
            request.headers["Range"] = "bytes=0-99"

    reader._api._http.event_hooks["request"].append(other)

    with pytest.raises(IntegrityFailure, match="was asked for"):
        reader.pull("team/grid:v2", tmp_path / "out")


def test_a_pack_that_became_shorter_is_told(reader, tmp_path):
    def beyond(request: httpx.Request) -> None:
        if "Range" in request.headers:
            request.headers["Range"] = "bytes=99999999-"

    reader._api._http.event_hooks["request"].append(beyond)

    with pytest.raises(IntegrityFailure, match="shorter"):
        reader.pull("team/grid:v2", tmp_path / "out")


class Breaking(httpx.HTTPTransport):
    """A network that breaks in the middle of a pack's bytes, so many times."""

    def __init__(self, times):
        super().__init__(verify=False)
        self.left = times

    def handle_request(self, request):
        answer = super().handle_request(request)
        if self.left and "/blobs/" in request.url.path:
            self.left -= 1
            answer.stream = Cut(answer.stream, int(answer.headers["Content-Length"]) // 2)
        return answer


class Cut(httpx.SyncByteStream):
    def __init__(self, stream, after):
        self._stream, self._left = stream, after

    def __iter__(self):
        for chunk in self._stream:
            yield chunk[: self._left]
            self._left -= len(chunk)
            if self._left <= 0:
                raise httpx.ReadError("the cable is out")

    def close(self):
        self._stream.close()


def test_what_came_before_a_connection_broke_is_kept(local, tmp_path):
    ref = "team/grid:v1"
    config = replace(local.client(("read",)).config, retries=0)
    with Client(config, transport=Breaking(times=99)) as broken:
        with pytest.raises(Unavailable, match="the cable is out"):
            broken.pull(ref, tmp_path / "out")
        kept = parts(broken)
    with Client(config) as reader:
        whole = reader.pull(ref, tmp_path / "out")

        assert kept
        assert 0 < whole.cached_bytes < whole.fetched_bytes
        assert_served_well(reader, tmp_path / "out", ref)
        assert reader.cache.verify() == []


def test_a_pack_goes_on_where_the_connection_broke(local, tmp_path):
    config = local.client(("read",)).config
    with Client(config, transport=Breaking(times=1)) as client:
        client._api._patience._sleep = lambda _: None

        report = client.pull("team/grid:v1", tmp_path / "out")

        assert report.fetched_bytes == large_pack(client).size_bytes
        assert_served_well(client, tmp_path / "out", "team/grid:v1")


def test_many_small_tensors_are_few_requests(local, tmp_path):
    """Every second of some layers among many, which lie in one pack with those between."""
    client = local.client()
    layers, width = range(250), 32
    client.bases.push(write_grid(tmp_path / "base", layers, seed=2, width=width), "rows")
    client.push(write_grid(tmp_path / "rows", layers, seed=3, width=width), "rows/all", base="rows")
    half = write_grid(tmp_path / "half", layers[:50:2], seed=3, width=width)
    client.push(half, "rows/all", base="rows")
    reader = local.client(("read",))
    traffic = Traffic(reader)

    report = reader.pull("rows/all:v2")

    assert len(traffic.blobs) <= 4
    alone = sum(pack.size_bytes for pack in storage_of(reader, "rows/all:v2").packs)
    assert report.fetched_bytes <= MOST_TIMES * alone, "the layers between are not fetched"
    assert_served_well(reader, report.path, "rows/all:v2")


def test_a_cache_that_is_pruned_all_the_time_breaks_nothing(local, tmp_path):
    readers = [local.client(("read",)) for _ in range(2)]
    rival, ended = Cache(readers[0].cache.path), threading.Event()

    def prune():
        while not ended.is_set():
            rival.prune(max_bytes=0)

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        for number in range(4):
            for ref in ("team/grid:v2", "team/grid:v1"):
                out = tmp_path / f"{number}{ref[-1]}"
                readers[0].pull(ref, out)
                assert_served_well(readers[0], out, ref)
    finally:
        ended.set()
        thread.join()


def test_every_layer_is_in_the_large_pack(reader):
    """What the figures above rest on."""
    storage = storage_of(reader, "team/grid:v1")

    assert len([piece for piece in storage.pieces.values() if piece.chunks]) >= COUNT
    assert len(storage.packs) == 1
